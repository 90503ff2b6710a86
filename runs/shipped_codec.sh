#!/usr/bin/env bash
# Makes a codec like the one in src/beholder/weights/codec, from free photographs to a folder for --model.
#
#   runs/shipped_codec.sh --output my-codec [--minutes M] [--photos DIR --validation DIR] [--add DIR]
#                         [--config FILE] [--device auto]
#
# Without --minutes the schedule of src/beholder/training/configs/swift.json runs in full, which is meant for a GPU.
# --minutes M shortens it to about M minutes of training; a smoke run takes --minutes 1.
# --photos and --validation use folders that exist; without them scripts/training_photos.py fetches photographs, and
# every 19th of those in the folder --add is kept for validation.
# --config takes another config, such as one with smaller networks.
# The job stops and goes on: run the same command again.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
config=$root/src/beholder/training/configs/swift.json
output='' minutes='' photos='' validation='' add='' device=auto
while [ $# -gt 0 ]; do
  [ $# -gt 1 ] || { echo "$1 wants a value" >&2; exit 2; }
  case $1 in
    --output) output=$2 ;;
    --minutes) minutes=$2 ;;
    --photos) photos=$2 ;;
    --validation) validation=$2 ;;
    --add) add=$2 ;;
    --config) config=$2 ;;
    --device) device=$2 ;;
    *) echo "There is no option $1: see the comment at the top of $0." >&2; exit 2 ;;
  esac
  shift 2
done
[ -n "$output" ] || { echo 'Give the folder to write the codec to: --output DIR.' >&2; exit 2; }

work=$output.work
mkdir -p "$work"

# 1. Photographs.
if [ -z "$photos" ]; then
  photos=$work/photos validation=$work/validation
  if [ ! -e "$work/photos.done" ]; then
    python "$root/scripts/training_photos.py" --output "$photos" ${add:+--add "$add" --validation "$validation"}
    if [ -z "$add" ]; then # hold back every 19th of the packages' photographs instead
      mkdir -p "$validation"
      find "$photos" -name '*.webp' | sort | awk 'NR % 19 == 1' | while read -r photo; do mv "$photo" "$validation/"; done
    fi
    touch "$work/photos.done"
  fi
fi
[ -n "$validation" ] || { echo 'Give held-out photographs with --validation DIR.' >&2; exit 2; }

# 2. The schedule.
if [ -n "$minutes" ]; then
  kind=cpu
  if [ "$device" = cuda ]; then kind=cuda; fi
  python "$root/scripts/scaled_config.py" "$config" --minutes "$minutes" --device "$kind" > "$work/config.json"
else
  cp "$config" "$work/config.json"
fi

# 3. Training, all parts one after the other.  A new part of the schedule belongs into the config, not here.
resume=''
if [ -e "$work/runs/codec/last.pt" ]; then resume=--resume; fi
python -m beholder train codec --train-data "$photos" --val-data "$validation" --alpha any --config "$work/config.json" \
  --job-id codec --runs "$work/runs" --device "$device" $resume

# 4. Export.  To fit the tables takes a quarter of an hour, which a short run does without.
fit=$photos
if [ -n "$minutes" ] && [ "${minutes%%.*}" -lt 60 ]; then fit=''; fi
python -m beholder export "$work/runs/codec/last.pt" --output "$output" ${fit:+--fit "$fit"}

echo "beholder compress photo.jpg --model $output"
