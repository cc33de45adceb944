//! What must hold for any bytes at all; called by the fuzz targets and by the replay of their corpora.
