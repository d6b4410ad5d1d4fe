import { useState } from "preact/hooks";
import { Field } from "../ui/field.js";
import { Mark } from "../ui/mark.js";
import { reasonOf } from "../ui/messages.js";
import { client } from "../service.js";

/** The page of those who are not logged in. */
export function Login({ ended }: { ended: boolean }) {
  const [isNew, setNew] = useState(false);
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState("");

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(form.get(name) ?? "");
    setBusy(true);
    setFault("");
    try {
      if (isNew) await client.register({ username: text("username"), email: text("email"), password: text("password") });
      else await client.login(text("username"), text("password"));
    } catch (error) {
      setFault(reasonOf(error));
      setBusy(false);
    }
  }

  return (
    <main class="login">
      <form class="login-card" onSubmit={(event) => void submit(event)}>
        <Mark />
        <h1>{isNew ? "Create your account" : "Log in"}</h1>
        {ended && !isNew && <p class="note">Your login has ended. Log in again to go on where you were.</p>}
        <Field name="User name">
          <input name="username" required autoComplete="username" autoCapitalize="none" spellcheck={false} autofocus />
        </Field>
        {isNew && (
          <Field name="E-mail">
            <input name="email" type="email" required autoComplete="email" />
          </Field>
        )}
        <Field name="Password" hint={isNew ? "At least 8 characters; a few words are best." : undefined}>
          <input name="password" type="password" required minLength={isNew ? 8 : 1} autoComplete={isNew ? "new-password" : "current-password"} />
        </Field>
        {fault && (
          <p class="fault" role="alert">
            {fault}
          </p>
        )}
        <button class="primary wide" disabled={busy}>
          {isNew ? "Create account" : "Log in"}
        </button>
        <p class="aside">
          {isNew ? "You have an account? " : "New here? "}
          <button
            type="button"
            class="link"
            onClick={() => {
              setNew(!isNew);
              setFault("");
            }}
          >
            {isNew ? "Log in" : "Create an account"}
          </button>
        </p>
      </form>
    </main>
  );
}
