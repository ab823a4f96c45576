"""A data set that yields images one at a time and has nothing else."""


class ImageList:
    """Images by an int; any other index is an error."""

    def __init__(self, images):
        self._images = images

    def __len__(self):
        return len(self._images)

    def __getitem__(self, i):
        if not isinstance(i, int):
            raise TypeError("an index is an int")
        return self._images[i]
