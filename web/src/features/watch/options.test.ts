import { describe, expect, it } from 'vitest'
import { cacheStatus } from './cacheStatus'
import { addressOf, readOptions } from './options'
import { judge } from './probe'

const read = (address: string) => readOptions(new URL(address, 'http://weir.example'))

describe('readOptions', () => {
  it('takes the stream from all of the path, and plays with hls.js unless told otherwise', () => {
    expect(read('/watch/sport/final')).toEqual({ stream: 'sport/final', player: 'hls', cmcd: 1, events: false, manifest: 'hls' })
  })

  it.each([
    ['/watch/test?player=dash&cmcd=2', { player: 'dash', manifest: 'dash', cmcd: 2 }],
    ['/watch/test?player=shaka', { player: 'shaka', manifest: 'dash' }],
    ['/watch/test?player=shaka&manifest=hls', { player: 'shaka', manifest: 'hls' }],
    ['/watch/test?player=hls&manifest=dash', { player: 'hls', manifest: 'hls' }],
    ['/watch/test?player=vlc&cmcd=7', { player: 'hls', cmcd: 1 }],
    ['/watch/test?cmcd=2&events=1', { cmcd: 2, events: true }],
    ['/watch/test?cmcd=1&events=1', { cmcd: 1, events: false }],
    ['/watch/', { stream: '' }],
    ['/watch/%zz', { stream: '%zz' }],
  ])('reads %s', (address, expected) => expect(read(address)).toMatchObject(expected))

  it('is undone by addressOf', () => {
    for (const address of ['/watch/a/b?player=shaka&cmcd=2&events=1&manifest=hls', '/watch/test?player=dash&cmcd=1']) {
      expect(addressOf(read(address))).toBe(address)
    }
  })
})

describe('cacheStatus', () => {
  it.each([
    [null, ''],
    ['edge-1; hit', 'hit'],
    ['edge-1; hit; ttl=-3', 'stale'],
    ['edge-1; hit; detail=stale-while-revalidate', 'stale'],
    ['edge-1; fwd=uri-miss; stored', 'miss'],
    ['edge-1; fwd=stale; fwd-status=200', 'miss'],
    ['edge-1; fwd=uri-miss; collapsed', 'collapsed'],
    ['edge-1; fwd=bypass', 'bypass'],
    ['shield; fwd=uri-miss, edge-1; hit', 'hit'],
    ['edge-1', ''],
  ])('of %s is %s', (header, expected) => expect(cacheStatus(header)).toBe(expected))
})

describe('judge', () => {
  it.each([
    ['a playlist that goes on', '#EXTM3U\n#EXTINF:2,\nvideo-1-7.m4s\n#EXTINF:2,\nvideo-1-8.m4s\n', { state: 'live', edge: 'video-1-8.m4s' }],
    ['one that has ended', '#EXTM3U\n#EXTINF:2,\nvideo-1-8.m4s\n#EXT-X-ENDLIST\n', { state: 'ended' }],
    ['one that begins', '#EXTM3U\n#EXTINF:1.001,\nvideo-1-1.m4s\n#EXTINF:2,\nvideo-1-2.m4s\n', { state: 'beginning' }],
    ['one with nothing in it yet', '#EXTM3U\n', { state: 'missing' }],
  ])('tells %s', (_, playlist, expected) => expect(judge(playlist)).toEqual(expected))
})
