# Your own videos, laid out as DAVIS is:
#   data/my_videos/JPEGImages/<video>/<frame>.jpg
#   data/my_videos/Annotations/<video>/<frame>.png    masks of ids, of every frame
#   data/my_videos/ImageSets/{train,val}.txt          names of videos
# Objects may appear later: each is given by the first mask that shows it.
# Videos with a few masks only are for inference: mmkd_ext.FolderVOSDataset.
_base_ = './davis17.py'
data_root = 'data/my_videos'
dataset_type = 'mmkd_ext.VOSVideoDataset'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/train.txt',
        pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/val.txt',
        test_mode=True,
        pipeline={{_base_.test_pipeline}}))
test_dataloader = val_dataloader
