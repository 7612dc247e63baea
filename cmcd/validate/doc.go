// Package validate holds CMCD against the text of its specification: CTA-5004 (version 1) and
// CTA-5004-B (version 2), and RFC 8941, in which records are written. It is the opposite of the
// lenient decoding of package cmcd: it drops nothing and forgives nothing, and one run finds all
// that is wrong. It is made for those who build players, and for their CI.
//
// What a sentence with MUST or Table 1 says is an error, what one with SHOULD says is a warning; the few
// exceptions have their reason in the table of rules, rules.go. Each [Issue] names its rule by a
// word that stays the same, so that a caller can choose, and the section that it comes from.
//
// There are never more than [MaxIssues] issues. The time that it takes grows with the length of the input alone. It allocates no more than 16 times as many bytes
// as come, and half a mebibyte beyond that for the issues and values, of which there are so many at most.
package validate
