// What a program shows in a terminal, as a picture: tmux runs it and tells what stands where in which colour, the browser draws that.

import { execFile } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

const SCHEMES = {
  light: { ink: '#24292f', paper: '#ffffff', frame: '#d0d7de', colours: ['#24292f', '#b3261e', '#1c7040', '#8a5a00', '#1f5fcc', '#8c1a66', '#0c7489', '#4b5563'] },
  dark: { ink: '#e6e9ee', paper: '#0f1217', frame: '#2e3641', colours: ['#8e97a5', '#ff8a80', '#6fd197', '#e8b549', '#7db0ff', '#ff8fd0', '#5fd0e4', '#e6e9ee'] },
};

/** The lines of a terminal in which this ran for so long, with what colours them (ECMA-48, SGR). */
export async function screen(command, { columns, lines, seconds }) {
  const session = `picture-${process.pid}`;
  const tmux = (...args) => run('tmux', ['-f', '/dev/null', '-L', session, ...args]);
  await tmux('new-session', '-d', '-s', session, '-x', String(columns), '-y', String(lines), '-e', 'COLORTERM=', command);
  try {
    await pause(seconds * 1000);
    const { stdout } = await tmux('capture-pane', '-t', session, '-e', '-p');
    return stdout.replace(/\n$/, '').split('\n');
  } finally {
    await tmux('kill-server');
  }
}

/** Draws lines into an empty page. Gives the element to take a picture of. */
export async function draw(page, prompt, lines, scheme) {
  await page.evaluate(
    ({ prompt, pieces, ink, paper, frame }) => {
      const terminal = document.createElement('pre');
      terminal.style.cssText = `display: inline-block; margin: 0; padding: 14px 18px; border: 1px solid ${frame}; border-radius: 8px; background: ${paper}; color: ${ink}; font: 13px/1.35 'DejaVu Sans Mono', monospace`;
      const write = (text, style) => {
        const span = document.createElement('span');
        span.textContent = text;
        span.style.cssText = style;
        terminal.append(span);
      };
      write(`$ ${prompt}\n`, 'font-weight: bold');
      for (const [text, style] of pieces) write(text, style);
      document.body.style.cssText = `margin: 0; background: ${paper}`;
      document.body.replaceChildren(terminal);
    },
    { prompt, pieces: pieces(lines.join('\n'), SCHEMES[scheme]), ...SCHEMES[scheme] },
  );
  return page.locator('pre');
}

/** Texts with how they look, in CSS. */
function pieces(text, scheme) {
  const look = { isBold: false, isDim: false, isReversed: false, ink: null, paper: null };
  return text.split(/(\x1b\[[\d;]*m)/).flatMap((part) => {
    const codes = /^\x1b\[([\d;]*)m$/.exec(part);
    if (!codes) return part ? [[part, style(look, scheme)]] : [];
    // The long form of the first sixteen colours.
    const short = codes[1].replace(/\b([34])8;5;(\d|1[0-5])\b/g, (_, where, colour) => `${where}${colour % 8}`);
    for (const code of short.split(';')) change(look, Number(code), scheme.colours);
    return [];
  });
}

function change(look, code, colours) {
  if (code === 0) Object.assign(look, { isBold: false, isDim: false, isReversed: false, ink: null, paper: null });
  else if (code === 1) look.isBold = true;
  else if (code === 2) look.isDim = true;
  else if (code === 22) Object.assign(look, { isBold: false, isDim: false });
  else if (code === 7 || code === 27) look.isReversed = code === 7;
  else if (code === 39) look.ink = null;
  else if (code === 49) look.paper = null;
  else if (code >= 30 && code <= 37) look.ink = colours[code - 30];
  else if (code >= 90 && code <= 97) look.ink = colours[code - 90];
  else if (code >= 40 && code <= 47) look.paper = colours[code - 40];
  else throw new Error(`a colour that nobody can draw here: ${code}`);
}

function style({ isBold, isDim, isReversed, ink, paper }, scheme) {
  const [front, back] = isReversed ? [paper ?? scheme.paper, ink ?? scheme.ink] : [ink, paper];
  return [front && `color: ${front}`, back && `background: ${back}`, isBold && 'font-weight: bold', isDim && 'opacity: .7'].filter(Boolean).join('; ');
}
