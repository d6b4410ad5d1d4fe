import { useEffect, useState } from "preact/hooks";
import type { components } from "task-manager-client";
import { useDesk } from "../desk.js";
import { ago, exact } from "../model/dates.js";
import { client, closeDesk, rememberUser } from "../service.js";
import { Field } from "../ui/field.js";
import { attempt, say, sayError } from "../ui/messages.js";
import { readTheme, setTheme, type Theme } from "../ui/theme.js";
import { ApiKeys } from "./api-keys.js";

type Login = components["schemas"]["SessionRead"];

/** The user's account, logins and keys, and how the page looks. */
export function Settings() {
  const desk = useDesk();
  const [theme, choose] = useState(readTheme());

  useEffect(() => {
    document.title = "Settings · Tasks";
  }, []);

  return (
    <>
      <header class="page-head">
        <div class="page-title">
          <h1>Settings</h1>
        </div>
        <span class="spring" />
        <button type="button" onClick={() => void attempt(closeDesk(desk))}>
          Log out
        </button>
      </header>
      <div class="narrow settings">
        <section>
          <h2>Appearance</h2>
          <div class="segments" role="group" aria-label="Theme">
            {(["system", "light", "dark"] as Theme[]).map((one) => (
              <button
                key={one}
                type="button"
                aria-pressed={theme === one}
                onClick={() => {
                  setTheme(one);
                  choose(one);
                }}
              >
                {{ system: "As the system", light: "Light", dark: "Dark" }[one]}
              </button>
            ))}
          </div>
        </section>
        <Account />
        <Password />
        <Logins />
        <ApiKeys />
      </div>
    </>
  );
}

function Account() {
  const { user } = useDesk();

  async function save(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const changed = await client.patch("/api/v1/users/me", {
      body: {
        username: String(form.get("username")),
        email: String(form.get("email")),
        display_name: String(form.get("display_name")).trim() || null,
        time_zone: String(form.get("time_zone")),
      },
    });
    Object.assign(user, changed);
    rememberUser(user);
    say("Saved.");
  }

  const zones = [...new Set(["UTC", user.time_zone, ...Intl.supportedValuesOf("timeZone")])];
  return (
    <section>
      <h2>Account</h2>
      <form class="form" onSubmit={(event) => void attempt(save(event))}>
        <Field name="Name" hint="What others see; without it they see the user name.">
          <input name="display_name" maxLength={100} defaultValue={user.display_name ?? ""} autoComplete="name" />
        </Field>
        <Field name="User name">
          <input name="username" required defaultValue={user.username} autoComplete="username" />
        </Field>
        <Field name="E-mail">
          <input name="email" type="email" required defaultValue={user.email} autoComplete="email" />
        </Field>
        <Field name="Time zone" hint="A task that is due on a day is overdue when that day ends there.">
          <select name="time_zone">
            {zones.map((zone) => (
              <option key={zone} value={zone} selected={zone === user.time_zone}>
                {zone.replaceAll("_", " ")}
              </option>
            ))}
          </select>
        </Field>
        <p class="form-end">
          <button class="primary">Save</button>
        </p>
      </form>
    </section>
  );
}

function Password() {
  async function save(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const text = (name: string) => String(new FormData(form).get(name));
    await client.post("/api/v1/users/me/password", {
      body: { current_password: text("current"), new_password: text("new"), confirm_password: text("again") },
    });
    form.reset();
    say("Your password is changed, and your other logins are ended.");
  }
  return (
    <section>
      <h2>Password</h2>
      <form class="form" onSubmit={(event) => void attempt(save(event))}>
        <Field name="Current password">
          <input name="current" type="password" required autoComplete="current-password" />
        </Field>
        <Field name="New password">
          <input name="new" type="password" required minLength={8} autoComplete="new-password" />
        </Field>
        <Field name="New password again">
          <input name="again" type="password" required minLength={8} autoComplete="new-password" />
        </Field>
        <p class="form-end">
          <button class="primary">Change password</button>
        </p>
      </form>
    </section>
  );
}

function Logins() {
  const [logins, setLogins] = useState<Login[]>([]);

  useEffect(() => {
    client.get("/api/v1/users/me/sessions", { query: { limit: 100 } }).then((page) => setLogins(page.sessions), sayError);
  }, []);

  async function end(login: Login): Promise<void> {
    await client.delete("/api/v1/users/me/sessions/{session_id}", { path: { session_id: login.id } });
    setLogins((before) => before.filter((one) => one.id !== login.id));
  }

  return (
    <section>
      <h2>Logins</h2>
      <ul class="plain rows">
        {logins.map((login) => (
          <li key={login.id}>
            <span>
              {login.user_agent ?? "Unknown program"}
              {login.current && <span class="chip">This one</span>}
              <small title={exact(new Date(login.last_used_at))}>Last used {ago(new Date(login.last_used_at))}</small>
            </span>
            {!login.current && (
              <button type="button" onClick={() => void attempt(end(login))}>
                End
              </button>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
