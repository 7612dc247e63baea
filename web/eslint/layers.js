import path from 'node:path'

/**
 * The import law of the front end, app → features → {feed, api, ui}:
 * what stands in a layer may import only from the layers named here, and from itself. A feature
 * never imports a feature, ui imports nothing of ours. cmcd is vocabulary, as in the Go house.
 */
export const law = {
  app: ['features', 'feed', 'api', 'ui', 'cmcd'],
  features: ['feed', 'api', 'ui', 'cmcd'],
  feed: ['api'],
  api: [],
  ui: [],
  cmcd: [],
  test: ['app', 'features', 'feed', 'api', 'ui', 'cmcd'],
}

/** violation says what is wrong with a file that imports another, both as paths below src; empty if nothing. */
export function violation(from, to) {
  const [layer, part] = from.split('/')
  const [target, other] = to.split('/')
  // Tests may use what tests share.
  if (target === 'test' && /\.test\.tsx?$/.test(from)) return ''
  if (layer === target) {
    if (layer !== 'features' || part === other) return ''
    return `feature ${part} imports feature ${other}: join them in app`
  }
  const allowed = law[layer]
  if (!allowed) return `${layer} is no layer: give it a place in eslint/layers.js`
  if (allowed.includes(target)) return ''
  return allowed.length > 0 ? `${layer} may import ${allowed.join(', ')}, not ${target}` : `${layer} imports nothing of ours, and so not ${target}`
}

/** @type {import('eslint').Rule.RuleModule} */
export const layers = {
  meta: { type: 'problem', schema: [], messages: { broken: '{{why}} (design, section 5)' } },
  create(context) {
    const root = path.join(context.cwd, 'src')
    const from = path.relative(root, context.filename).split(path.sep).join('/')
    if (from.startsWith('..')) return {}
    const check = (node) => {
      const source = node.source?.value
      if (typeof source !== 'string' || !source.startsWith('.')) return
      const to = path.relative(root, path.resolve(path.dirname(context.filename), source)).split(path.sep).join('/')
      const why = to.startsWith('..') ? 'an import leaves src' : violation(from, to)
      if (why) context.report({ node, messageId: 'broken', data: { why } })
    }
    return {
      ImportDeclaration: check,
      ImportExpression: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: (node) => {
        context.report({ node, messageId: 'broken', data: { why: 'no barrel files: name what is exported' } })
      },
    }
  },
}
