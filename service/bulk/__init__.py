"""Any number of pictures to Parquet, by Ray Data on this machine or a cluster; the extra `bulk`."""
