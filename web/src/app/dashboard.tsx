import './styles'
import { MantineProvider } from '@mantine/core'
import { QueryClientProvider } from '@tanstack/react-query'
import { RouterProvider } from '@tanstack/react-router'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { FeedProvider } from '../feed/FeedContext'
import { newQueryClient } from './queryClient'
import { newRouter } from './router'
import { theme } from './theme'

const router = newRouter()
const queries = newQueryClient()

const root = document.getElementById('root')
if (root) {
  createRoot(root).render(
    <StrictMode>
      <MantineProvider theme={theme} defaultColorScheme="auto">
        <QueryClientProvider client={queries}>
          <FeedProvider>
            <RouterProvider router={router} />
          </FeedProvider>
        </QueryClientProvider>
      </MantineProvider>
    </StrictMode>,
  )
}
