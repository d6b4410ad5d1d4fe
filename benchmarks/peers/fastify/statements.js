// Every statement, each with a name: pg prepares it once on a connection. $1 is always the caller.
const NAMES = [
  'id', 'project_id', 'title', 'description', 'status', 'priority', 'tags', 'due_at', 'due_on', 'start_at',
  'section_id', 'position', 'assignee_id', 'created_by', 'created_at', 'updated_at', 'completed_at', 'version'
]
const TASK = NAMES.map((name) => `t.${name}`).join(', ')
const READABLE = 'JOIN project_members m ON m.project_id = t.project_id AND m.user_id = $1'
const WRITABLE = "m.user_id = $1::int AND m.role IN ('owner', 'editor')"

export const getTask = {
  name: 'get-task',
  text: `SELECT ${TASK} FROM tasks t ${READABLE} WHERE t.id = $2`
}

export const getVersion = {
  name: 'get-version',
  text: `SELECT t.version FROM tasks t ${READABLE} WHERE t.id = $2`
}

// Each filter takes the number of its parameter.
const FILTERS = {
  status: (n) => `t.status = $${n}`,
  statuses: (n) => `t.status = ANY($${n}::text[])`,
  priority: (n) => `t.priority = ANY($${n}::int[])`,
  overdue: () => "t.due_at < now() AND t.status IN ('pending', 'in_progress')",
  search: (n) => `(t.title ILIKE $${n} OR t.description ILIKE $${n})`
}
const lists = new Map()

// PostgreSQL takes the search index for every project; to read a small one takes half as long.
const FEW = 500
const SMALL = `(SELECT count(*) <= ${FEW} FROM (SELECT FROM tasks s WHERE s.project_id = m.project_id LIMIT ${FEW + 1}) s)`
const READ = `(SELECT s.* FROM tasks s WHERE s.project_id = m.project_id AND ${SMALL} OFFSET 0)`
const SEARCHED = `LATERAL (
  SELECT s.* FROM ${READ} s UNION ALL SELECT s.* FROM tasks s WHERE s.project_id = m.project_id AND NOT ${SMALL}
) t`

// The rows of each project come in the order of an index, as many as the page may need, and are merged. Few tasks are
// overdue, and to read and sort all of them is faster.
export function listTasks (filters, sortBy, order, counted) {
  const name = ['list', ...filters, sortBy, order, counted].join(' ')
  if (lists.has(name)) return lists.get(name)
  let parameter = 3
  const conditions = filters.map((filter) => FILTERS[filter](filter === 'overdue' ? 0 : ++parameter))
  const tasks = filters.includes('search') ? SEARCHED : 'tasks t'
  const where = ['t.project_id = m.project_id', ...conditions].join(' AND ')
  const keys = [...new Set([sortBy, 'created_at', 'id'])]
  const nulls = sortBy === 'due_at' ? ' NULLS LAST' : ''
  const ordered = `ORDER BY ${keys.map((key, n) => `t.${key} ${order}${n === 0 ? nulls : ''}`).join(', ')}`
  const part = (from, also = '') => `SELECT ${TASK} FROM ${from} WHERE ${where}${also} ${ordered} LIMIT $2::int + $3::int`
  const parts = filters.includes('search')
    ? `(${part(`${READ} t`)}) UNION ALL (${part('tasks t', ` AND NOT ${SMALL}`)})`
    : part('tasks t')
  const page = filters.includes('overdue')
    ? `SELECT ${TASK} FROM project_members m JOIN ${tasks} ON ${where} WHERE m.user_id = $1 ${ordered} LIMIT $2 OFFSET $3`
    : `
    SELECT t.* FROM project_members m CROSS JOIN LATERAL (
      ${parts}
    ) t WHERE m.user_id = $1 ${ordered} LIMIT $2 OFFSET $3`
  const text = counted
    ? `SELECT c.total, t.* FROM (
         SELECT count(*)::int AS total FROM project_members m JOIN ${tasks} ON ${where} WHERE m.user_id = $1
       ) c LEFT JOIN (${page}) t ON true ${ordered}`
    : page
  const statement = { name, text }
  lists.set(name, statement)
  return statement
}

// Without a project a task goes into the caller's Inbox.
const PROJECT = 'COALESCE($2::int, (SELECT id FROM projects WHERE inbox_of = $1))'

export const createTask = {
  name: 'create-task',
  text: `
    INSERT INTO tasks AS t (project_id, created_by, title, description, status, priority, tags, due_at, completed_at)
    SELECT m.project_id, $1::int, $3, $4, $5::text, $6::int, $7::text[], $8::timestamptz,
           CASE WHEN $5::text = 'completed' THEN now() END
    FROM project_members m WHERE m.project_id = ${PROJECT} AND ${WRITABLE} RETURNING ${TASK}`
}

export const createTaskOnce = {
  name: 'create-task-once',
  text: `
    WITH t AS (${createTask.text}), stored AS (
      INSERT INTO idempotency_keys (user_id, key, fingerprint, status, body)
      SELECT $1::int, $9, $10, 201, row_to_json(t)::text FROM t
    )
    SELECT * FROM t`
}

export const createTasks = {
  name: 'create-tasks',
  text: `
    INSERT INTO tasks AS t (project_id, created_by, title, description, status, priority, tags, due_at, completed_at)
    SELECT m.project_id, $1::int, n.title, n.description, COALESCE(n.status, 'pending'), COALESCE(n.priority, 1),
           COALESCE(n.tags, '{}'), n.due_at, CASE WHEN n.status = 'completed' THEN now() END
    FROM project_members m CROSS JOIN ROWS FROM (
      jsonb_to_recordset($3::jsonb) AS (title text, description text, status text, priority int, tags text[], due_at timestamptz)
    ) WITH ORDINALITY AS n (title, description, status, priority, tags, due_at, place)
    WHERE m.project_id = ${PROJECT} AND ${WRITABLE} ORDER BY n.place RETURNING ${TASK}`
}

// Only what is given is set, so each set of fields is a statement of its own.
const updates = new Map()
export function updateTask (fields) {
  const name = ['update-task', ...fields].join(' ')
  if (updates.has(name)) return updates.get(name)
  const set = fields.map((field, n) => `${field} = $${n + 3}`)
  if (fields.includes('status')) {
    const status = `$${fields.indexOf('status') + 3}`
    set.push(`completed_at = CASE WHEN ${status} = 'completed' THEN COALESCE(t.completed_at, now()) END`)
  }
  const statement = {
    name,
    text: `
      UPDATE tasks t SET ${set.join(', ')}, version = t.version + 1, updated_at = now()
      FROM project_members m WHERE t.id = $2 AND m.project_id = t.project_id AND ${WRITABLE} RETURNING ${TASK}`
  }
  updates.set(name, statement)
  return statement
}

const COMMENT = 'c.id, c.task_id, c.project_id, c.body, c.author_id, u.username, u.display_name, c.created_at, c.updated_at, c.version'

// The outer join tells a task without comments from one that is not there.
export const listComments = {
  name: 'list-comments',
  text: `
    SELECT ${COMMENT} FROM (SELECT t.id FROM tasks t ${READABLE} WHERE t.id = $2) t
    LEFT JOIN comments c ON c.task_id = t.id LEFT JOIN users u ON u.id = c.author_id
    ORDER BY c.created_at, c.id LIMIT $3`
}

export const createComment = {
  name: 'create-comment',
  text: `
    WITH c AS (
      INSERT INTO comments (project_id, task_id, author_id, body)
      SELECT t.project_id, t.id, $1::int, $3 FROM tasks t JOIN project_members m ON m.project_id = t.project_id
      WHERE t.id = $2 AND ${WRITABLE} RETURNING *
    )
    SELECT ${COMMENT} FROM c LEFT JOIN users u ON u.id = c.author_id`
}

export const listProjects = {
  name: 'list-projects',
  text: `
    SELECT p.id, p.name, p.description, p.archived, p.inbox_of IS NOT NULL AS personal, m.role, p.created_at,
           p.updated_at, p.version
    FROM project_members m JOIN projects p ON p.id = m.project_id WHERE m.user_id = $1
    ORDER BY p.created_at, p.id LIMIT $2`
}

const NOTIFIED = 'notifications n JOIN tasks t ON t.id = n.task_id JOIN project_members m ON m.project_id = t.project_id AND m.user_id = n.user_id'
export const listNotifications = {
  name: 'list-notifications',
  text: `
    SELECT c.unread, n.* FROM (
      SELECT count(*)::int AS unread FROM ${NOTIFIED} WHERE n.user_id = $1 AND n.read_at IS NULL
    ) c LEFT JOIN (
      SELECT n.id, n.kind, n.task_id, t.project_id, t.title AS task_title, n.comment_id, n.actor_id, u.username, u.display_name,
             n.created_at, n.read_at
      FROM ${NOTIFIED} LEFT JOIN users u ON u.id = n.actor_id
      WHERE n.user_id = $1 ORDER BY n.created_at DESC, n.id DESC LIMIT $2
    ) n ON true ORDER BY n.created_at DESC, n.id DESC`
}

export const findKey = {
  name: 'find-key',
  text: 'SELECT fingerprint, status, body FROM idempotency_keys WHERE user_id = $1 AND key = $2'
}
