// Tasks of the caller's projects, by Fastify: its JSON schemas validate requests and write answers.
import cluster from 'node:cluster'
import { createHash } from 'node:crypto'
import { createVerifier } from 'fast-jwt'
import Fastify from 'fastify'
import pg from 'pg'
import * as schemas from './schemas.js'
import * as sql from './statements.js'

const UNIQUE_VIOLATION = '23505'

// PostgreSQL's text of a time becomes that of JSON; a Date would be made and written again, and lose microseconds.
pg.types.setTypeParser(pg.types.builtins.DATE, (text) => text)
pg.types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, (text) => `${text.slice(0, 10)}T${text.slice(11)}:00`)

// A request has a connection of the pool for itself, or sends into one that others use, without waiting for their answers.
function connect () {
  const size = Number(process.env.POOL ?? 10)
  const options = { connectionString: process.env.DATABASE_URL, options: '-c TimeZone=UTC' }
  if (!process.env.PIPELINE) {
    const pool = new pg.Pool({ ...options, max: size, idleTimeoutMillis: 0 })
    return (statement) => pool.query(statement)
  }
  const clients = Array.from({ length: size }, () => new pg.Client({ ...options, pipeline: true }))
  clients.forEach((client) => client.connect())
  let turn = 0
  return (statement) => clients[turn++ % size].query(statement)
}

function build () {
  const app = Fastify()
  const send = connect()
  const verify = createVerifier({
    key: process.env.JWT_SECRET,
    algorithms: ['HS256'],
    allowedIss: 'benchmark',
    requiredClaims: ['sub', 'exp'],
    cache: 10000
  })
  const query = async ({ name, text }, values) => (await send({ name, text, values })).rows

  app.get('/health', async () => ({ status: 'healthy' }))

  app.register(async (api) => {
    api.decorateRequest('userId', 0)
    api.addHook('onRequest', (request, reply, done) => {
      try {
        const [scheme, token] = (request.headers.authorization ?? '').split(' ')
        if (scheme !== 'Bearer') throw new Error('no token')
        request.userId = Number(verify(token).sub)
      } catch {
        return reply.code(401).header('WWW-Authenticate', 'Bearer').send({ detail: 'Not authenticated' })
      }
      done()
    })

    const notFound = (reply) => reply.code(404).send({ detail: 'Not found' })
    const tagged = (reply, task) => reply.header('ETag', `"${task.version}"`)

    api.get('/tasks', { schema: { querystring: schemas.listQuery, response: { 200: schemas.taskList } } }, async (request) => {
      const { limit, skip, status, priority, overdue, search, sort_by: sortBy, order, count } = request.query
      const filters = []
      const values = [request.userId, limit, skip]
      const filter = (name, value) => { filters.push(name); values.push(value) }
      if (status?.length === 1) filter('status', status[0])
      else if (status) filter('statuses', status)
      if (priority) filter('priority', priority)
      if (overdue) filters.push('overdue')
      if (search) filter('search', `%${search.replace(/[\\%_]/g, '\\$&')}%`)
      const counted = count === 'exact'
      const rows = await query(sql.listTasks(filters, sortBy, order, counted), values)
      const tasks = counted && rows[0].id === null ? [] : rows
      return { total: counted ? rows[0].total : null, skip, limit, tasks }
    })

    api.get('/tasks/:id', { schema: { params: schemas.taskId, response: { 200: schemas.task } } }, async (request, reply) => {
      const values = [request.userId, request.params.id]
      const known = request.headers['if-none-match']
      if (known !== undefined) {
        const [found] = await query(sql.getVersion, values)
        if (!found) return notFound(reply)
        const tag = `"${found.version}"`
        if (known === '*' || known.split(/\s*,\s*/).some((each) => each.replace(/^W\//, '') === tag)) {
          return reply.code(304).header('ETag', tag).send()
        }
      }
      const [task] = await query(sql.getTask, values)
      if (!task) return notFound(reply)
      tagged(reply, task)
      return task
    })

    const valuesOf = (userId, body) => {
      const { project_id: project = null, title, description = null, status = 'pending', priority = 1, tags = [], due_at: due = null } = body
      return [userId, project, title, description, status, priority, tags, due]
    }

    const replay = async (request, reply, key, fingerprint) => {
      const [stored] = await query(sql.findKey, [request.userId, key])
      if (!stored.fingerprint.equals(fingerprint)) {
        return reply.code(422).send({ detail: 'The key was used for another request' })
      }
      return reply.code(stored.status).type('application/json; charset=utf-8').header('Idempotency-Replayed', 'true').send(stored.body)
    }

    // One statement makes the task and stores the answer, so a key that was used makes it fail as a whole.
    const createOnce = async (request, reply, key) => {
      const fingerprint = createHash('sha256').update(JSON.stringify(request.body)).digest()
      try {
        return await query(sql.createTaskOnce, [...valuesOf(request.userId, request.body), key, fingerprint])
      } catch (error) {
        if (error.code !== UNIQUE_VIOLATION) throw error
        await replay(request, reply, key, fingerprint)
        return null
      }
    }

    api.post('/tasks', { schema: { body: schemas.newTask, response: { 201: schemas.task } } }, async (request, reply) => {
      const key = request.headers['idempotency-key']
      const created = key === undefined
        ? await query(sql.createTask, valuesOf(request.userId, request.body))
        : await createOnce(request, reply, key)
      if (created === null) return reply
      const [task] = created
      if (!task) return notFound(reply)
      tagged(reply, task).code(201)
      return task
    })

    api.post('/tasks/bulk', { schema: { body: schemas.newTasks, response: { 201: schemas.tasks } } }, async (request, reply) => {
      const { tasks } = request.body
      const project = tasks[0].project_id ?? null
      if (tasks.some((task) => (task.project_id ?? null) !== project)) {
        return reply.code(422).send({ detail: 'All tasks must be for the same project' })
      }
      const created = await query(sql.createTasks, [request.userId, project, JSON.stringify(tasks)])
      if (created.length === 0) return notFound(reply)
      reply.code(201)
      return { tasks: created }
    })

    api.patch('/tasks/:id', { schema: { params: schemas.taskId, body: schemas.changedTask, response: { 200: schemas.task } } }, async (request, reply) => {
      const fields = Object.keys(request.body).sort()
      const values = fields.map((field) => request.body[field])
      const [task] = await query(sql.updateTask(fields), [request.userId, request.params.id, ...values])
      if (!task) return notFound(reply)
      tagged(reply, task)
      return task
    })

    // The rows are nobody else's, so the person is put into each instead of into a copy.
    const withPerson = (row, place, id) => {
      row[place] = row.username === null ? null : { id, username: row.username, display_name: row.display_name }
      return row
    }
    const withAuthor = (row) => withPerson(row, 'author', row.author_id)
    const withActor = (row) => withPerson(row, 'actor', row.actor_id)

    api.get('/tasks/:id/comments', { schema: { params: schemas.taskId, querystring: schemas.page, response: { 200: schemas.commentList } } }, async (request, reply) => {
      const rows = await query(sql.listComments, [request.userId, request.params.id, request.query.limit])
      if (rows.length === 0) return notFound(reply)
      if (rows[0].id === null) return { comments: [] }
      return { comments: rows.map(withAuthor) }
    })

    api.post('/tasks/:id/comments', { schema: { params: schemas.taskId, body: schemas.newComment, response: { 201: schemas.comment } } }, async (request, reply) => {
      const [row] = await query(sql.createComment, [request.userId, request.params.id, request.body.body])
      if (!row) return notFound(reply)
      tagged(reply, row).code(201)
      return withAuthor(row)
    })

    api.get('/projects', { schema: { querystring: schemas.page, response: { 200: schemas.projectList } } }, async (request) => {
      return { projects: await query(sql.listProjects, [request.userId, request.query.limit]) }
    })

    api.get('/notifications', { schema: { querystring: schemas.page, response: { 200: schemas.notificationList } } }, async (request) => {
      const rows = await query(sql.listNotifications, [request.userId, request.query.limit])
      return { notifications: rows[0].id === null ? [] : rows.map(withActor), unread: rows[0].unread }
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
