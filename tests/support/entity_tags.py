"""Headers with entity tags: those that name version 1, those that do not, and those that are malformed."""

# Each has the first version among others, as the service gave it or as a compressing proxy has rewritten it.
MATCHING = (
    *('"1"', "*", " * ", '"7", "1"', '"1",W/"2" , "x"', ', "1",', '"a,b", "1"', 'W/"1"', '"2", W/"1"'),
    *('"1-gzip"', '"1-br"', '"1-zstd"', '"1--gzip"', '"1--br"', '"1;gzip"', '"1;gz"', '"1;br"', '"1:deflate"'),
    *('W/"1-gzip"', '"1-gzip-gzip"', 'W/"1--gzip;br"', '"2-gzip", "1-gzip"', '"1-x-gzip"'),
)
NOT_MATCHING = (
    *('"2"', '"99999999999999999999"', 'W/"2"', '"01"', '"x1"', '""', '"W/", "2"', '"2-gzip"', 'W/"11-gzip"'),
    *('"1-"', '"1-gzi"', '"1-gzipx"', '"1-GZIP"', '"1gzip"', '"1---gzip"', '"1-2"', '"-gzip"', '"1-gzip-1"'),
    '"1' + "-gzip" * 5 + '"',
)
MALFORMED = ("1", '"1', '1"', "", 'x"1"', '"1"x', '"1" "2"', 'w/"1"', '"a"1"b"', '*, "1"', "**", "W/1", '"a b", "1"')
