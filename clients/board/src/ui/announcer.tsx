import { useEffect, useState } from "preact/hooks";

let speak: (text: string) => void = () => undefined;

/** Have screen readers say a sentence. */
export function announce(text: string): void {
  speak(text);
}

export function Announcer() {
  const [text, setText] = useState("");
  useEffect(() => {
    speak = setText;
    return () => void (speak = () => undefined);
  }, []);
  return (
    <div class="unseen" role="log" aria-live="assertive">
      {text}
    </div>
  );
}
