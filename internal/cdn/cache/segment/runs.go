package segment

import (
	"slices"
	"sort"
)

// run is a range of a file.
type run struct{ offset, n int64 }

func (r run) end() int64 { return r.offset + r.n }

// runs are ranges in order that neither overlap nor touch.
type runs []run

// find returns the index of the first run that ends after offset.
func (f runs) find(offset int64) int {
	return sort.Search(len(f), func(i int) bool { return f[i].end() > offset })
}

// fits returns the index of the first run from offset on that has n bytes, -1 if there is none.
func (f runs) fits(offset, n int64) int {
	for i := f.find(offset); i < len(f); i++ {
		if f[i].n >= n {
			return i
		}
	}
	return -1
}

// take removes n bytes from the beginning of a run.
func (f *runs) take(i int, n int64) int64 {
	offset := (*f)[i].offset
	if (*f)[i].n == n {
		*f = slices.Delete(*f, i, i+1)
	} else {
		(*f)[i].offset += n
		(*f)[i].n -= n
	}
	return offset
}

// add puts a range in that no run overlaps.
func (f *runs) add(r run) {
	i := f.find(r.offset)
	if i < len(*f) && (*f)[i].offset == r.end() {
		r.n += (*f)[i].n
		*f = slices.Delete(*f, i, i+1)
	}
	if i > 0 && (*f)[i-1].end() == r.offset {
		(*f)[i-1].n += r.n
		return
	}
	*f = slices.Insert(*f, i, r)
}
