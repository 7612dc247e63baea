import { Alert, Button } from '@mantine/core'

/** Failure says what could not be had, and offers to try again. */
export function Failure({ what, error, retry }: { what: string; error: Error; retry: () => void }) {
  return (
    <Alert color="red" variant="light" title={`${what} could not be loaded`} role="alert">
      <p>{error.message}</p>
      <Button size="xs" variant="default" mt="xs" onClick={retry}>
        Try again
      </Button>
    </Alert>
  )
}
