// What requests must look like, and how answers are written.
const text = { type: 'string' }
const integer = { type: 'integer' }
const maybe = (schema) => ({ ...schema, nullable: true })
const time = { type: 'string', format: 'date-time' }
// Every property of an answer is required, so that its writer need not look which are there.
const object = (properties) => ({ type: 'object', properties, required: Object.keys(properties) })
const list = (items) => ({ type: 'array', items })

export const task = object({
  id: integer,
  project_id: integer,
  title: text,
  description: maybe(text),
  status: text,
  priority: integer,
  tags: list(text),
  due_at: maybe(time),
  due_on: maybe({ type: 'string', format: 'date' }),
  start_at: maybe(time),
  section_id: maybe(integer),
  position: text,
  assignee_id: maybe(integer),
  created_by: maybe(integer),
  created_at: time,
  updated_at: time,
  completed_at: maybe(time),
  version: integer
})
export const taskList = object({ total: maybe(integer), skip: integer, limit: integer, tasks: list(task) })
export const tasks = object({ tasks: list(task) })

const person = maybe(object({ id: integer, username: text, display_name: maybe(text) }))
export const comment = object({
  id: integer,
  task_id: integer,
  project_id: integer,
  body: text,
  author: person,
  created_at: time,
  updated_at: time,
  version: integer
})
export const commentList = object({ comments: list(comment) })

export const projectList = object({
  projects: list(object({
    id: integer,
    name: text,
    description: maybe(text),
    archived: { type: 'boolean' },
    personal: { type: 'boolean' },
    role: text,
    created_at: time,
    updated_at: time,
    version: integer
  }))
})

export const notificationList = object({
  notifications: list(object({
    id: integer,
    kind: text,
    task_id: integer,
    project_id: integer,
    task_title: text,
    comment_id: maybe(integer),
    actor: person,
    created_at: time,
    read_at: maybe(time)
  })),
  unread: integer
})

const id = { type: 'integer', minimum: 1, maximum: 2147483647 }
const limit = { type: 'integer', minimum: 1, maximum: 100, default: 20 }
const status = { type: 'string', enum: ['pending', 'in_progress', 'completed', 'cancelled'] }
const priority = { type: 'integer', minimum: 1, maximum: 5 }
const fields = {
  title: { type: 'string', minLength: 1, maxLength: 200 },
  description: { type: 'string', maxLength: 2000, nullable: true },
  status,
  priority,
  tags: { type: 'array', maxItems: 20, items: { type: 'string', minLength: 1, maxLength: 50 } },
  due_at: maybe(time)
}
const strict = (properties, required = []) => ({ type: 'object', required, additionalProperties: false, properties })

export const taskId = object({ id })
export const page = strict({ limit })
export const listQuery = strict({
  limit,
  skip: { type: 'integer', minimum: 0, maximum: 10000, default: 0 },
  status: { type: 'array', items: status },
  priority: { type: 'array', items: priority },
  overdue: { type: 'boolean' },
  search: { type: 'string', minLength: 1, maxLength: 100 },
  sort_by: { type: 'string', enum: ['created_at', 'priority', 'due_at'], default: 'created_at' },
  order: { type: 'string', enum: ['asc', 'desc'], default: 'desc' },
  count: { type: 'string', enum: ['exact', 'none'], default: 'exact' }
})
export const newTask = strict({ ...fields, project_id: id }, ['title'])
export const changedTask = { ...strict(fields), minProperties: 1 }
export const newTasks = strict({ tasks: { type: 'array', minItems: 1, maxItems: 100, items: newTask } }, ['tasks'])
export const newComment = strict({ body: { type: 'string', minLength: 1, maxLength: 10000 } }, ['body'])
