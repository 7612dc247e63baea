import { useNow } from '../../feed/FeedContext'
import { bitrate, count, nothing, percent, rate, seconds, time } from '../../ui/format'
import { MetricCard, type Card } from './MetricCard'

const cards: Card[] = [
  { name: 'Viewers', metric: 'viewers', definition: 'Playback sessions with a record just now.', of: (l) => l.viewers, format: count },
  { name: 'Average bitrate', metric: 'average_bitrate', definition: 'Encoded bitrate of the video requested, weighted by its duration.', of: (l) => l.average_bitrate, format: bitrate },
  { name: 'Hit ratio', metric: 'hit_ratio', definition: 'Share of requests that the edge answered without asking the origin.', of: (l) => l.hit_ratio, format: percent },
  { name: 'Requests', metric: 'requests_per_second', definition: 'Requests answered in a second.', of: (l) => l.requests_per_second, format: rate },
  { name: 'Egress', metric: 'egress', definition: 'Body bits sent to viewers in a second.', of: (l) => l.egress, format: bitrate },
  { name: 'TTFB, 95th percentile', metric: 'ttfb_p95', definition: 'Nineteen of twenty requests got their first byte at least this fast.', of: (l) => l.ttfb_p95_seconds, format: seconds },
  { name: 'Error ratio', metric: 'error_ratio', definition: 'Share of requests answered with a status of 400 and above.', of: (l) => l.error_ratio, format: percent },
  { name: 'Rebuffering', definition: 'Sessions whose player reported that its buffer had run dry. Players report it after a seek too.', of: (l) => l.rebuffering, format: (n) => (n === 1 ? '1 session' : `${count(n)} sessions`) },
]

/** MetricCards is what is going on now, a card for each metric. */
export function MetricCards() {
  const { live } = useNow()
  return (
    <section aria-labelledby="now">
      <div className="heading">
        <h1 id="now">Now</h1>
        <p className="asof">
          as of <time dateTime={live?.time}>{live ? time(live.time) : nothing}</time>
          {live && live.dropped_records > 0 && <> · {count(live.dropped_records)} records dropped since start</>}
        </p>
      </div>
      <div className="cards">
        {cards.map((card) => (
          <MetricCard key={card.name} card={card} />
        ))}
      </div>
    </section>
  )
}
