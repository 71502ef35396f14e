#!/usr/bin/env bash
# Called by `mim download mmkd_ext --dataset ade20k` with the download folder and the data folder.
exec bash "$(dirname "$0")/_unpack.sh" "$1/OpenDataLab___ADE20K_2016" "$2" \
    ADEChallengeData2016/images ADEChallengeData2016/annotations
