"""Training classifiers on data of one's own; the result is an observer.

- :mod:`.settings` -- options and configs.
- :mod:`.run` -- a whole job: :func:`~beholder.training.classifier.run.train_classifier`.
- :mod:`.pictures`, :mod:`.batches` -- augmentation; batches that are the same in every run.
- :mod:`.network`, :mod:`.module` -- which layers learn, and what a step does.
- :mod:`.loop`, :mod:`.callbacks`, :mod:`.state` -- Keras' ``fit``, interrupted and resumed.
- :mod:`beholder.training.distributed` -- several processes or GPUs.
- :mod:`.finish` -- from weights to an observer.
"""
