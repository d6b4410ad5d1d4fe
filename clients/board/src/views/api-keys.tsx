import { useEffect, useState } from "preact/hooks";
import type { components } from "task-manager-client";
import { ago, exact } from "../model/dates.js";
import { client } from "../service.js";
import { Field } from "../ui/field.js";
import { attempt, sayError } from "../ui/messages.js";

type Key = components["schemas"]["ApiKeyRead"];
type Scope = Key["scopes"][number];

const SCOPES: [Scope, string][] = [
  ["tasks:read", "Read tasks"],
  ["tasks:write", "Change tasks"],
  ["projects:read", "Read projects"],
  ["projects:write", "Change projects"],
];

/** Keys with which programs work as the user. */
export function ApiKeys() {
  const [keys, setKeys] = useState<Key[]>([]);
  const [made, setMade] = useState("");

  useEffect(() => {
    client.get("/api/v1/users/me/api-keys", { query: { limit: 100 } }).then((page) => setKeys(page.api_keys), sayError);
  }, []);

  async function create(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const values = new FormData(form);
    const body = { name: String(values.get("name")), scopes: values.getAll("scope") as Scope[] };
    const { key, ...rest } = await client.post("/api/v1/users/me/api-keys", { body });
    setMade(key);
    setKeys((before) => [rest, ...before]);
    form.reset();
  }

  async function revoke(key: Key): Promise<void> {
    await client.delete("/api/v1/users/me/api-keys/{key_id}", { path: { key_id: key.id } });
    setKeys((before) => before.filter((one) => one.id !== key.id));
  }

  return (
    <section>
      <h2>API keys</h2>
      <form class="form" onSubmit={(event) => void attempt(create(event))}>
        <Field name="Name of the new key">
          <input name="name" required maxLength={100} />
        </Field>
        <fieldset class="choices">
          <legend>It may</legend>
          {SCOPES.map(([scope, name]) => (
            <label key={scope}>
              <input type="checkbox" name="scope" value={scope} defaultChecked={scope.endsWith(":read")} /> {name}
            </label>
          ))}
        </fieldset>
        <p class="form-end">
          <button class="primary">Create key</button>
        </p>
      </form>
      {made && (
        <p class="note" role="status">
          Copy the key now, it is not shown again: <code>{made}</code>
        </p>
      )}
      <ul class="plain rows">
        {keys.map((key) => (
          <li key={key.id}>
            <span>
              {key.name}
              <small>
                {key.scopes.join(", ")}
                {key.expires_at && `; ends ${exact(new Date(key.expires_at))}`}; made {ago(new Date(key.created_at))}
              </small>
            </span>
            <button type="button" onClick={() => void attempt(revoke(key))}>
              Revoke
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
