package sniff

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"slices"
	"testing"
)

// ends returns where requests end in text, as the scanner has it when it gets text in pieces of n bytes, and
// whether it refused something.
func ends(text []byte, n int) (offsets []int, refused bool) {
	var s scanner
	for at := 0; at < len(text); {
		// Piece by piece up to each end, which is where the scanner is as new.
		size := min(n, len(text)-at)
		for i := 1; i <= size; i++ {
			one := s
			good, _, why := one.scan(text[at : at+i])
			if why == "" && one == (scanner{}) {
				offsets = append(offsets, at+i)
			}
			if why != "" {
				if good > i {
					panic("more is good than there is")
				}
				return offsets, true
			}
		}
		s.scan(text[at : at+size])
		at += size
	}
	return offsets, false
}

// FuzzScanner compares where requests end with what net/http thinks, for all that both take.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\nPOST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n00\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.1\nHost: x\n\n",
		"POST / HTTP/1.0\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n",
		"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\nContent-Length: 1\r\n\r\nz",
	} {
		f.Add([]byte(seed), 7)
	}
	f.Fuzz(func(t *testing.T, text []byte, n int) {
		if len(text) > 4096 {
			return
		}
		whole, refused := ends(text, len(text))
		pieces, refusedPieces := ends(text, max(1, n%64))
		if refused != refusedPieces || !slices.Equal(whole, pieces) {
			t.Fatalf("at once: %v %v; in pieces: %v %v", whole, refused, pieces, refusedPieces)
		}

		source := bytes.NewReader(text)
		reader := bufio.NewReader(source)
		for i := 0; ; i++ {
			request, err := http.ReadRequest(reader)
			if err != nil {
				return // net/http refuses more, or the text has ended
			}
			if _, err := io.Copy(io.Discard, request.Body); err != nil {
				return
			}
			end := len(text) - source.Len() - reader.Buffered()
			if i >= len(whole) {
				if !refused {
					t.Fatalf("net/http has a request that ends at %d, the scanner has only %v", end, whole)
				}
				return
			}
			if whole[i] != end {
				t.Fatalf("request %d ends at %d for net/http, at %d for the scanner", i, end, whole[i])
			}
		}
	})
}

// BenchmarkScan is what the sniffer adds to a request that a browser sends.
func BenchmarkScan(b *testing.B) {
	text := []byte("GET /live/sport/final/720p/seg_1234.m4s?CMCD=bl%3D21300%2Cbr%3D3200%2Ccid%3D%22faec5fc2%22%2Cd%3D4004%2Cot%3Dv%2Csf%3Dh%2Csid%3D%226e2fb550%22 HTTP/1.1\r\n" +
		"Host: edge.example\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36\r\n" +
		"Accept: */*\r\nOrigin: https://player.example\r\nReferer: https://player.example/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n\r\n")
	var s scanner
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, why := s.scan(text); why != "" {
			b.Fatal(why)
		}
	}
}
