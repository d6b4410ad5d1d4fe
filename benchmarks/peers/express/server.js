// Tasks of the caller, by Express: hand-written checks, every statement is prepared.
import cluster from 'node:cluster'
import express from 'express'
import { createVerifier } from 'fast-jwt'
import pg from 'pg'

const COLUMNS = 'id, title, description, status, priority, tags, due_at, created_at, updated_at'
const STATUSES = new Set(['pending', 'in_progress', 'completed', 'cancelled'])
const CHECKS = {
  title: (value) => typeof value === 'string' && value.length >= 1 && value.length <= 200,
  description: (value) => typeof value === 'string' && value.length <= 2000,
  status: (value) => STATUSES.has(value),
  priority: (value) => Number.isInteger(value) && value >= 1 && value <= 5
}

function isGood (body) {
  if (body === null || typeof body !== 'object' || Array.isArray(body)) return false
  const entries = Object.entries(body)
  return entries.length > 0 && entries.every(([name, value]) => Object.hasOwn(CHECKS, name) && CHECKS[name](value))
}

function integer (text, minimum, maximum) {
  const number = /^\d{1,10}$/.test(text) ? Number(text) : NaN
  return number >= minimum && number <= maximum ? number : null
}

function build () {
  const app = express()
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 })
  const verify = createVerifier({
    key: process.env.JWT_SECRET,
    algorithms: ['HS256'],
    allowedIss: 'benchmark',
    requiredClaims: ['sub', 'exp'],
    cache: 10000
  })

  app.disable('x-powered-by')
  app.get('/health', (request, response) => response.json({ status: 'healthy' }))

  const api = express.Router()
  api.use((request, response, next) => {
    try {
      const [scheme, token] = (request.headers.authorization ?? '').split(' ')
      if (scheme !== 'Bearer') throw new Error('no token')
      request.userId = Number(verify(token).sub)
    } catch {
      return response.status(401).set('WWW-Authenticate', 'Bearer').json({ detail: 'Not authenticated' })
    }
    next()
  })
  api.use(express.json())
  api.param('id', (request, response, next, text) => {
    request.taskId = integer(text, 1, 2147483647)
    if (request.taskId === null) return response.status(422).json({ detail: 'The id is not a number' })
    next()
  })

  api.get('/tasks', async (request, response) => {
    const limit = integer(request.query.limit ?? '20', 1, 100)
    if (limit === null) return response.status(422).json({ detail: 'limit must be from 1 to 100' })
    const { rows } = await pool.query({
      name: 'list',
      text: `SELECT ${COLUMNS} FROM tasks WHERE owner_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2`,
      values: [request.userId, limit]
    })
    response.json({ tasks: rows })
  })

  api.get('/tasks/:id', async (request, response) => {
    const { rows } = await pool.query({
      name: 'get',
      text: `SELECT ${COLUMNS} FROM tasks WHERE id = $1 AND owner_id = $2`,
      values: [request.taskId, request.userId]
    })
    if (rows.length === 0) return response.status(404).json({ detail: 'Not found' })
    response.json(rows[0])
  })

  api.post('/tasks', async (request, response) => {
    if (!isGood(request.body) || request.body.title === undefined) {
      return response.status(422).json({ detail: 'Not a task' })
    }
    const { title, description = null, status = 'pending', priority = 1 } = request.body
    const { rows } = await pool.query({
      name: 'create',
      text: `INSERT INTO tasks (owner_id, title, description, status, priority) VALUES ($1, $2, $3, $4, $5) RETURNING ${COLUMNS}`,
      values: [request.userId, title, description, status, priority]
    })
    response.status(201).json(rows[0])
  })

  api.patch('/tasks/:id', async (request, response) => {
    if (!isGood(request.body)) return response.status(422).json({ detail: 'Not a change of a task' })
    const { title = null, description = null, status = null, priority = null } = request.body
    const { rows } = await pool.query({
      name: 'update',
      text: `UPDATE tasks SET title = COALESCE($3, title), description = COALESCE($4, description),
               status = COALESCE($5, status), priority = COALESCE($6, priority), updated_at = now()
             WHERE id = $1 AND owner_id = $2 RETURNING ${COLUMNS}`,
      values: [request.taskId, request.userId, title, description, status, priority]
    })
    if (rows.length === 0) return response.status(404).json({ detail: 'Not found' })
    response.json(rows[0])
  })

  app.use('/api/v1', api)
  return app
}

const processes = Number(process.env.PROCESSES)
if (processes > 1 && cluster.isPrimary) {
  for (let n = 0; n < processes; n++) cluster.fork()
} else {
  build().listen(Number(process.env.PORT), '127.0.0.1')
}
