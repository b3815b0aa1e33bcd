#!/usr/bin/env python3
"""Draw captured terminal text as SVG: the picture in the README.

    tmux new-session -d -s demo -x 128 -y 40 && tmux send-keys -t demo script/demo Enter
    tmux capture-pane -p -t demo | python3 demo/picture.py > docs/demo.svg

The text is drawn as it was captured.  Standard library only.
"""
import html
import sys

CELL, LINE, MARGIN = 7.83, 17, 14  # advance of a 13px monospace font, line height, margin, in pixels

lines = sys.stdin.read().rstrip("\n").split("\n")
while lines and (not lines[-1].strip() or lines[-1].strip() == "$"):
    lines.pop()
width = int(max(len(line) for line in lines) * CELL + 2 * MARGIN)
height = int(len(lines) * LINE + 2 * MARGIN)
print('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">' % (width, height, width, height))
print('<rect width="100%" height="100%" rx="6" fill="#16181d"/>')
print('<g font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="13" fill="#d5d8de" xml:space="preserve">')
for i, line in enumerate(lines):
    if not line.strip():
        continue
    line = line.rstrip()
    colour = ' fill="#8fbf7f"' if line.startswith("[") else ' fill="#ffffff" font-weight="bold"' if line.startswith("$") else ""
    print('<text x="%d" y="%d" textLength="%.1f"%s>%s</text>' % (MARGIN, MARGIN + 13 + i * LINE, len(line) * CELL, colour, html.escape(line)))
print("</g>\n</svg>")
