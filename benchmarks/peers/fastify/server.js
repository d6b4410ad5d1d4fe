// Tasks of the caller, by Fastify: its JSON schemas validate requests and write answers, every statement is prepared.
import cluster from 'node:cluster'
import { createVerifier } from 'fast-jwt'
import Fastify from 'fastify'
import pg from 'pg'

const COLUMNS = 'id, title, description, status, priority, tags, due_at, created_at, updated_at'
const STATUSES = ['pending', 'in_progress', 'completed', 'cancelled']

const task = {
  type: 'object',
  properties: {
    id: { type: 'integer' },
    title: { type: 'string' },
    description: { type: 'string', nullable: true },
    status: { type: 'string' },
    priority: { type: 'integer' },
    tags: { type: 'array', items: { type: 'string' } },
    due_at: { type: 'string', format: 'date-time', nullable: true },
    created_at: { type: 'string', format: 'date-time' },
    updated_at: { type: 'string', format: 'date-time' }
  }
}
const fields = {
  title: { type: 'string', minLength: 1, maxLength: 200 },
  description: { type: 'string', maxLength: 2000 },
  status: { type: 'string', enum: STATUSES },
  priority: { type: 'integer', minimum: 1, maximum: 5 }
}
const params = { type: 'object', properties: { id: { type: 'integer', minimum: 1, maximum: 2147483647 } } }
const querystring = {
  type: 'object',
  properties: { limit: { type: 'integer', minimum: 1, maximum: 100, default: 20 } }
}

function build () {
  const app = Fastify()
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 })
  const verify = createVerifier({
    key: process.env.JWT_SECRET,
    algorithms: ['HS256'],
    allowedIss: 'benchmark',
    requiredClaims: ['sub', 'exp'],
    cache: 10000
  })

  app.get('/health', async () => ({ status: 'healthy' }))

  app.register(async (api) => {
    api.decorateRequest('userId', 0)
    api.addHook('onRequest', async (request, reply) => {
      try {
        const [scheme, token] = (request.headers.authorization ?? '').split(' ')
        if (scheme !== 'Bearer') throw new Error('no token')
        request.userId = Number(verify(token).sub)
      } catch {
        return reply.code(401).header('WWW-Authenticate', 'Bearer').send({ detail: 'Not authenticated' })
      }
    })

    api.get('/tasks', { schema: { querystring, response: { 200: { type: 'object', properties: { tasks: { type: 'array', items: task } } } } } }, async (request) => {
      const { rows } = await pool.query({
        name: 'list',
        text: `SELECT ${COLUMNS} FROM tasks WHERE owner_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2`,
        values: [request.userId, request.query.limit]
      })
      return { tasks: rows }
    })

    api.get('/tasks/:id', { schema: { params, response: { 200: task } } }, async (request, reply) => {
      const { rows } = await pool.query({
        name: 'get',
        text: `SELECT ${COLUMNS} FROM tasks WHERE id = $1 AND owner_id = $2`,
        values: [request.params.id, request.userId]
      })
      if (rows.length === 0) return reply.code(404).send({ detail: 'Not found' })
      return rows[0]
    })

    const create = { type: 'object', required: ['title'], additionalProperties: false, properties: fields }
    api.post('/tasks', { schema: { body: create, response: { 201: task } } }, async (request, reply) => {
      const { title, description = null, status = 'pending', priority = 1 } = request.body
      const { rows } = await pool.query({
        name: 'create',
        text: `INSERT INTO tasks (owner_id, title, description, status, priority) VALUES ($1, $2, $3, $4, $5) RETURNING ${COLUMNS}`,
        values: [request.userId, title, description, status, priority]
      })
      return reply.code(201).send(rows[0])
    })

    const update = { type: 'object', minProperties: 1, additionalProperties: false, properties: fields }
    api.patch('/tasks/:id', { schema: { params, body: update, response: { 200: task } } }, async (request, reply) => {
      const { title = null, description = null, status = null, priority = null } = request.body
      const { rows } = await pool.query({
        name: 'update',
        text: `UPDATE tasks SET title = COALESCE($3, title), description = COALESCE($4, description),
                 status = COALESCE($5, status), priority = COALESCE($6, priority), updated_at = now()
               WHERE id = $1 AND owner_id = $2 RETURNING ${COLUMNS}`,
        values: [request.params.id, request.userId, title, description, status, priority]
      })
      if (rows.length === 0) return reply.code(404).send({ detail: 'Not found' })
      return rows[0]
    })
  }, { prefix: '/api/v1' })
  return app
}

const processes = Number(process.env.PROCESSES)
if (processes > 1 && cluster.isPrimary) {
  for (let n = 0; n < processes; n++) cluster.fork()
} else {
  await build().listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
}
