import { describe, expect, it } from 'vitest'
import { meaning } from './keys'
import { parse, parseBody } from './parse'

const values = (record: string) => Object.fromEntries(parse(record).map((p) => [p.key, p.value]))

describe('parse', () => {
  it('reads a record of version 1', () => {
    expect(values('bl=6100,br=1298,bs,cid="cam/one",d=2000,ot=v,pr=1.08,sid="6376e0e8"')).toEqual({
      bl: 6100, br: 1298, bs: true, cid: 'cam/one', d: 2000, ot: 'v', pr: 1.08, sid: '6376e0e8',
    })
  })

  it('reads the lists of version 2, with and without object types', () => {
    expect(values('bl=(6100),br=(1298;v 96;a),pb=(1298.234),nor=("a.m4s";r="0-99" "b.m4s"),v=2')).toEqual({
      bl: [6100], br: [1298, 96], pb: [1298.234], nor: ['a.m4s', 'b.m4s'], v: 2,
    })
  })

  it('keeps separators that stand in quotes', () => {
    expect(values('cid="movie \\"A\\", part (1",sf=h')).toEqual({ cid: 'movie "A", part (1', sf: 'h' })
  })

  it('keeps each value as it was written', () => {
    expect(parse('bs,br=(1298;v 96;a),cid="x"').map((p) => [p.key, p.raw])).toEqual([
      ['bs', ''],
      ['br', '(1298;v 96;a)'],
      ['cid', '"x"'],
    ])
  })

  it.each([
    ['spaces around commas', 'pt=111000, sf=d', { pt: 111000, sf: 'd' }],
    ['a comma at the end', 'sf=d,', { sf: 'd' }],
    ['booleans in full', 'bs=?0,su=?1', { bs: false, su: true }],
    ['a custom key', 'com.example-key="v"', { 'com.example-key': 'v' }],
    ['text that is no key', '=1,"x",,sf=h', { sf: 'h' }],
    ['a quote without an end', 'cid="abc', { cid: 'abc' }],
    ['nothing', '', {}],
  ])('takes %s', (_, record, expected) => expect(values(record)).toEqual(expected))

  it('reads the records of a report, one on a line', () => {
    expect(parseBody('e=ps,sta=p\ne=t,sn=2\n').map((r) => r[0]?.value)).toEqual(['ps', 't'])
  })
})

describe('meaning', () => {
  it('names the unit of a key and the meaning of a token', () => {
    expect(meaning('mtp', '5200')).toBe('measured throughput, kbit/s')
    expect(meaning('ot', 'av')).toBe('object type: audio and video')
    expect(meaning('com.example-key', '1')).toBe('custom key')
  })
})
