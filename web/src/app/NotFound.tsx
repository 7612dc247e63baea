import { Link } from '@tanstack/react-router'
import { Empty } from '../ui/Empty'

export function NotFound() {
  return (
    <Empty title="There is no such page.">
      <Link to="/">What is going on now</Link>
    </Empty>
  )
}
