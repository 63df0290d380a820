"""An index in a store that many machines share, on Milvus."""
