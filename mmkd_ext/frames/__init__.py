"""Frames of videos: image folders, video files, single images; shared by the video tasks."""
