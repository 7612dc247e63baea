import type { Exchange, Rebuffer } from '../../api/client'
import { decode } from '../../cmcd/parse'

/** Timeline is what the charts of a session draw: each list has an entry for each time. */
export interface Timeline {
  /** Unix seconds. */
  times: number[]
  /** Seconds. */
  buffer: (number | null)[]
  /** Bit/s. */
  bitrate: (number | null)[]
  throughput: (number | null)[]
  /** Rebuffers, in Unix seconds. */
  stalls: { from: number; to: number }[]
}

/**
 * timelineOf draws on the requests for media: for video, or for audio where a session has no video.
 * The two have buffers of their own, and a line through both would zigzag.
 */
export function timelineOf(exchanges: Exchange[], rebuffers: Rebuffer[]): Timeline {
  const hasVideo = exchanges.some((e) => isVideo(e.object_type))
  const media = exchanges.filter((e) => (hasVideo ? isVideo(e.object_type) : e.object_type === 'a'))
  const timeline: Timeline = { times: [], buffer: [], bitrate: [], throughput: [], stalls: [] }
  let last = -Infinity
  for (const e of media) {
    const at = Date.parse(e.time) / 1000
    if (!(at > last)) continue // the chart needs times that ascend
    last = at
    timeline.times.push(at)
    timeline.buffer.push(e.buffer_length_seconds ?? null)
    timeline.bitrate.push(e.bitrate ? e.bitrate : null)
    timeline.throughput.push(throughput(e.cmcd?.['mtp']))
  }
  timeline.stalls = rebuffers.map((r) => {
    const from = Date.parse(r.time) / 1000
    return { from, to: from + r.duration_seconds }
  })
  return timeline
}

const isVideo = (type: string | undefined) => type === 'v' || type === 'av'

/** CMCD counts in kbit/s; a list has a value for each type of object, of which the first is drawn. */
function throughput(raw: string | undefined): number | null {
  if (raw === undefined) return null
  const value = decode(raw)
  const first = Array.isArray(value) ? value[0] : value
  return typeof first === 'number' && first > 0 ? first * 1000 : null
}
