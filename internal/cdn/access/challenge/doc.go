// Package challenge makes abuse dear: a browser is given a page that finds a number whose hash has zeros at
// its beginning, which takes it a second and us a hash, and remembers it in a cookie. What asks thousands of
// times from one network and runs no script is held off, and nobody else is asked for help.
//
// Nothing is kept about who was challenged. The page holds a seed, which is an HMAC of the client's network,
// the moment until which an answer is good and how many bits must be zero; the cookie holds those and the
// answer. So a cookie is worth nothing in another network, nor later, nor where more work is asked for.
package challenge
