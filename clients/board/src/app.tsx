import { useEffect, useState } from "preact/hooks";
import { ApiError } from "task-manager-client";
import { DeskContext } from "./desk.js";
import { client, type Desk, openDesk } from "./service.js";
import { Announcer } from "./ui/announcer.js";
import { Messages, reasonOf } from "./ui/messages.js";
import { Login } from "./views/login.js";
import { Shell } from "./views/shell.js";

/** Shows the login or the desk, whichever the login of this browser calls for. */
export function App() {
  const [loggedIn, setLoggedIn] = useState(client.loggedIn);
  const [ended, setEnded] = useState(false);
  const [desk, setDesk] = useState<Desk>();
  const [fault, setFault] = useState("");

  useEffect(
    () =>
      client.onLogin((now) => {
        setEnded(!now);
        setLoggedIn(now);
      }),
    [],
  );

  useEffect(() => {
    if (!loggedIn) return;
    let opened: Desk | undefined;
    let gone = false;
    const open = async () => {
      opened = await openDesk();
      if (gone) return;
      const { store } = opened;
      store.subscribe(() => store.error !== undefined && fail(store.error));
      await store.start();
      if (!gone) setDesk(opened);
    };
    const fail = (error: unknown) => {
      if (!gone && !(error instanceof ApiError && error.status === 401)) setFault(reasonOf(error));
    };
    open().catch(fail);
    return () => {
      gone = true;
      opened?.store.stop();
      setDesk(undefined);
      setFault("");
    };
  }, [loggedIn]);

  return (
    <>
      {!loggedIn ? (
        <Login ended={ended} />
      ) : fault ? (
        <main class="login">
          <div class="login-card">
            <h1>This did not work</h1>
            <p>{fault}</p>
            <button class="primary wide" onClick={() => location.reload()}>
              Try again
            </button>
          </div>
        </main>
      ) : desk ? (
        <DeskContext.Provider value={desk}>
          <Shell />
        </DeskContext.Provider>
      ) : (
        <Skeleton />
      )}
      <Messages />
      <Announcer />
    </>
  );
}

function Skeleton() {
  return (
    <main class="shell" aria-busy="true" aria-label="Loading">
      <div class="sidebar" />
      <div class="page">
        <div class="board">
          {[4, 3, 5].map((cards, column) => (
            <div class="column" key={column}>
              {Array.from({ length: cards }, (_, card) => (
                <div class="card ghost" key={card} />
              ))}
            </div>
          ))}
        </div>
      </div>
    </main>
  );
}
