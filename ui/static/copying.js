/* Buttons that put a run on the clipboard: as YAML, as a command, as a script. */

import { address, el } from "./dom.js";

export function copying(id, done) {
  const said = el("span", { class: "ts-quiet", role: "status" });
  const button = (text, name, make) => {
    const node = el("button", { class: "ts-button", type: "button", "aria-label": `Copy as ${name}` }, text);
    node.addEventListener("click", async () => {
      try {
        await copy(make());
        said.textContent = `Copied: ${name}.`;
      } catch {
        said.textContent = "The browser did not let it be copied. Use the download instead.";
      }
    });
    return node;
  };
  const spec = () => text(id, "spec");
  return el("div", { class: "ts-copying", role: "group", "aria-label": "Copy this run" },
    el("span", { class: "ts-quiet" }, "Copy as"),
    button("YAML", "YAML", spec),
    button("Command", "a command", async () => command(id, await spec())),
    done ? button("Script", "a script", () => text(id, "source")) : null,
    said);
}

/* What can be pasted into a terminal in Tunesmith's folder: it writes the settings and trains by them. */
export function command(id, yaml) {
  let end = "END";
  while (yaml.split("\n").includes(end)) end += "_";
  return `cat > ${id}.yaml <<'${end}'\n${yaml.replace(/\n*$/, "\n")}${end}\npython -m engine train ${id}.yaml\n`;
}

async function text(id, what) {
  const answer = await fetch(address(`runs/${id}/download/${what}`));
  if (!answer.ok) throw new Error(what);
  return answer.text();
}

/* `coming` is a promise. It is handed to the clipboard as it is: Safari forgets the click while a page waits. */
async function copy(coming) {
  if (navigator.clipboard && window.ClipboardItem) {
    try {
      const blob = coming.then((found) => new Blob([found], { type: "text/plain" }));
      return await navigator.clipboard.write([new ClipboardItem({ "text/plain": blob })]);
    } catch {
      // Not allowed, or no secure address: the old way may still do.
    }
  }
  const area = el("textarea", { "aria-hidden": "true", style: "position: fixed; opacity: 0" });
  area.value = await coming;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("refused");
}
