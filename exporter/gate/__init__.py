"""The gate between training and publication: does the graph compute what the member does, however rows are sent?"""
