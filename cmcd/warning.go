package cmcd

// Warning is a set of tolerances: what a lenient decoder put up with in a record.
type Warning uint32
