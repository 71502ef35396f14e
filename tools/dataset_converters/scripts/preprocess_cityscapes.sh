#!/usr/bin/env bash
# Called by `mim download mmkd_ext --dataset cityscapes` with the download folder and the data folder.
exec bash "$(dirname "$0")/_unpack.sh" "$1/OpenDataLab___CityScapes" "$2" leftImg8bit gtFine
