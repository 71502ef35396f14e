#!/usr/bin/env bash
# _unpack.sh FOLDER DATA_ROOT WANTED...: unpack every archive below FOLDER into DATA_ROOT, and look
# for the folders that mmseg's configs want there. The archives stay, for the user to remove.
set -euo pipefail
folder=$1 data_root=$2
shift 2

if [ ! -d "$folder" ]; then
    echo "error: $folder does not exist: the download put nothing there." >&2
    exit 2
fi
mkdir -p "$data_root"
count=0
while IFS= read -r -d '' archive; do
    count=$((count + 1))
    echo "unpacking $archive"
    case $archive in
        *.zip) unzip -q -o "$archive" -d "$data_root" ;;
        *) tar -xf "$archive" -C "$data_root" ;;
    esac
done < <(find "$folder" -type f \( -name '*.zip' -o -name '*.tar' -o -name '*.tar.gz' -o -name '*.tgz' \) -print0 | sort -z)

for wanted in "$@"; do
    if [ ! -d "$data_root/$wanted" ]; then
        echo "error: unpacked $count archives of $folder, but there is no $data_root/$wanted." >&2
        exit 2
    fi
done
echo "$data_root is ready; $folder is no longer needed."
