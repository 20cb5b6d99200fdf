"""How a contact sheet looks: on a wide screen and on a phone, by day and by night, on paper."""

STYLE = """\
:root {
  color-scheme: light dark;
  --page: #f6f6f4; --card: #fff; --ink: #1d1d1b; --soft: #6b6b66; --line: #e2e2dd; --mark: #ffd02e;
}
@media (prefers-color-scheme: dark) {
  :root { --page: #161615; --card: #20201f; --ink: #e9e9e4; --soft: #9a9a93; --line: #343431; }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: clamp(1rem, 3vw, 2.5rem); max-width: 100rem;
  background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
}
h1 { margin: 0 0 .25em; font-size: 1.5rem; font-weight: 600; overflow-wrap: anywhere; }
h2 { margin: 0; font-size: 1.15rem; font-weight: 600; }
h3 {
  margin: 0; color: var(--soft); font-size: .7rem; font-weight: 600;
  letter-spacing: .06em; text-transform: uppercase;
}
section { margin-top: 2rem; }
header { margin-bottom: 1rem; padding-bottom: .5rem; border-bottom: 1px solid var(--line); }
.note { margin: 0 0 .75rem; color: var(--soft); overflow-wrap: anywhere; }
.samples {
  display: grid; gap: 1.25rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr));
}
article {
  display: grid; gap: .75rem; padding: .9rem; break-inside: avoid;
  background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
}
.pictures, .texts { display: grid; gap: .75rem; grid-auto-columns: minmax(0, 1fr); }
.pictures { grid-auto-flow: column; align-items: start; }
.texts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 12rem), 1fr)); }
.texts p { margin: .1rem 0 0; overflow-wrap: anywhere; white-space: pre-line; }
figure { margin: 0; }
figcaption { margin-top: .25rem; color: var(--soft); font-size: .8rem; }
.frame { position: relative; width: fit-content; }
.frame img { display: block; max-width: 100%; height: auto; border-radius: .2rem; }
.frame i {
  position: absolute; border: 2px solid var(--mark); border-radius: 2px;
  box-shadow: 0 0 0 1px rgb(0 0 0 / .55), inset 0 0 0 1px rgb(0 0 0 / .55);
}
.frame span {
  position: absolute; left: -2px; bottom: 100%; padding: 0 .3em; background: var(--mark);
  color: #1d1d1b; font: 600 .65rem/1.35 system-ui, sans-serif; white-space: nowrap;
}
.missing {
  display: grid; place-items: center; min-height: 8rem; padding: 1rem; text-align: center;
  border: 1px dashed var(--line); border-radius: .2rem; color: var(--soft);
  font-size: .85rem; overflow-wrap: anywhere;
}
dl { display: flex; flex-wrap: wrap; gap: .1rem 1rem; margin: 0; font-size: .8rem; }
dl div { display: flex; gap: .35rem; min-width: 0; }
dt { color: var(--soft); white-space: nowrap; }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
small { color: var(--soft); font-size: .9em; }
@media print { body { background: none; max-width: none; padding: 0; } }
"""
