"""Make the event log followable: eras, the epoch, versions of members, and the indexes of those who follow.

Revision: 0008, after 0007.
"""

from alembic import op

from taskmanager.database.schema_migrations import build_index, drop_index

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_COLUMNS = (
    "ALTER TABLE events ADD COLUMN IF NOT EXISTS era integer DEFAULT 0 NOT NULL",
    "ALTER TABLE project_members ADD COLUMN IF NOT EXISTS version integer DEFAULT 1 NOT NULL",
)
# As PostgreSQL writes them, so that those that are complete are recognised after an interruption.
_INDEXES = {
    "events_log_idx": "events USING btree (era, xid, id)",
    "events_project_log_idx": "events USING btree (project_id, era, xid, id)",
    "events_member_idx": "events USING btree (entity_id, era, xid, id) WHERE entity = 'member'::text",
    "comments_id_idx": "comments USING btree (id)",
}
# The timeline is part of the name of the file that is written now: the control file has the one before until the first
# checkpoint after a promotion has ended.
_TIMELINE = "('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer"
_MAC_KEY = "uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())"
_DATABASE = "(SELECT oid FROM pg_database WHERE datname = current_database())"
_TABLES = (
    """
    CREATE TABLE event_log (
        id integer DEFAULT 1 NOT NULL
            CONSTRAINT event_log_pkey PRIMARY KEY CONSTRAINT event_log_one_row_check CHECK (id = 1),
        epoch uuid DEFAULT gen_random_uuid() NOT NULL,
        mac_key bytea NOT NULL,
        era integer DEFAULT 0 NOT NULL,
        system_id bigint NOT NULL,
        database_id bigint NOT NULL,
        timeline integer NOT NULL,
        started_at timestamptz DEFAULT now() NOT NULL,
        floor_era integer DEFAULT 0 NOT NULL,
        floor_xid xid8 DEFAULT '0' NOT NULL,
        floor_id bigint DEFAULT 0 NOT NULL
    )
    """,
    f"""
    INSERT INTO event_log (mac_key, system_id, database_id, timeline)
    SELECT {_MAC_KEY}, system_identifier, {_DATABASE}, {_TIMELINE} FROM pg_control_system()
    """,
    # Only the owner of a table may alter it, and the service's role need not be that. Two processes that find the same
    # epoch outdated start one new epoch.
    f"""
    CREATE FUNCTION start_epoch(outdated uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    DECLARE
        found event_log;
    BEGIN
        SELECT * INTO found FROM event_log FOR UPDATE;
        IF found.epoch IS DISTINCT FROM outdated THEN
            RETURN false;
        END IF;
        EXECUTE format('ALTER TABLE events ALTER COLUMN era SET DEFAULT %s', found.era + 1);
        UPDATE event_log
        SET epoch = gen_random_uuid(), mac_key = {_MAC_KEY}, era = found.era + 1, started_at = now(),
            system_id = system_identifier, database_id = {_DATABASE}, timeline = {_TIMELINE}
        FROM pg_control_system();
        RETURN true;
    END
    $$
    """,
)


def upgrade() -> None:
    """Add them; writers go on while the indexes are built, and the version before keeps running."""
    for statement in _COLUMNS:
        op.execute(statement)
    for name, definition in _INDEXES.items():
        build_index(name, definition)
    drop_index("events_order_idx")
    for statement in _TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Drop them; what happened in a later era than another then sorts by transaction alone."""
    op.execute("CREATE INDEX events_order_idx ON events (project_id, xid, id)")
    for name in _INDEXES:
        op.execute(f"DROP INDEX {name}")
    op.execute("DROP FUNCTION start_epoch(uuid)")
    op.execute("DROP TABLE event_log")
    op.execute("ALTER TABLE project_members DROP COLUMN version")
    op.execute("ALTER TABLE events DROP COLUMN era")
