import { describe, expect, it } from 'vitest'
import { bitrate, bytes, clock, count, middle, percent, rate, seconds, time } from './format'

describe('formatters', () => {
  it.each([
    [bitrate(1_298_234), '1.30 Mbit/s'],
    [bitrate(52_300_000), '52.3 Mbit/s'],
    [bitrate(999_949_999), '1,000 Mbit/s'],
    [bitrate(96_000), '96 kbit/s'],
    [bitrate(2.5e9), '2.50 Gbit/s'],
    [bitrate(0), '0 bit/s'],
    [middle('video-1795176166748-69876490.m4s'), 'video-…876490.m4s'],
    [middle('video-1795176166748-init.mp4'), 'video-…8-init.mp4'],
    [middle('manifest.mpd'), 'manifest.mpd'],
    [bytes(812), '812 B'],
    [bytes(310_591), '311 kB'],
    [bytes(999_600), '1.00 MB'],
    [seconds(0), '0 s'],
    [seconds(0.00002), '< 0.1 ms'],
    [seconds(0.0008), '0.8 ms'],
    [seconds(0.0213), '21 ms'],
    [seconds(0.9996), '1.0 s'],
    [seconds(3.94), '3.9 s'],
    [seconds(47.2), '47 s'],
    [seconds(65), '1:05 min'],
    [clock(7384), '2:03:04 h'],
    [percent(0), '0 %'],
    [percent(1), '100 %'],
    [percent(0.0012), '0.12 %'],
    [percent(0.965), '96.5 %'],
    [rate(57.24), '57.2 /s'],
    [rate(0), '0 /s'],
    [count(12_345), '12,345'],
  ])('writes %s', (written, expected) => expect(written).toBe(expected))

  it('has a dash where there is no number', () => {
    for (const f of [bitrate, bytes, seconds, clock, percent, rate, count]) {
      expect([f(null), f(undefined), f(NaN)]).toEqual(['–', '–', '–'])
    }
    expect(time('0001-01-01T00:00:00Z')).toBe('–')
  })
})
