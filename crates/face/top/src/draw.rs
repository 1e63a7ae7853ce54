//! What the screen looks like.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize},
    text::{Line as Text, Span},
    widgets::{Block, Borders, Cell, Padding, Paragraph, Row, Sparkline, Table, TableState},
};

use crate::{
    app::{App, Container, Kind, Use, View},
    text::size,
};

const ACCENT: Color = Color::Cyan;

/// Draws everything; how many lines are seen at once.
pub(crate) fn draw(frame: &mut Frame<'_>, app: &App) -> usize {
    let rows = Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)]);
    let [head, body, foot] = rows.areas(frame.area());
    frame.render_widget(heading(app), head);
    match app.view {
        View::List => list(frame, app, body),
        View::Log => log(frame, app, body),
        View::Usage => usage(frame, app, body),
        View::Help => help(frame, body),
        View::Things(kind) => things(frame, app, kind, body),
    }
    frame.render_widget(footer(app), foot);
    usize::from(body.height.saturating_sub(2)).max(1)
}

fn heading(app: &App) -> Paragraph<'_> {
    let (running, all) = app.counts();
    let total = app.total();
    Paragraph::new(Text::from(vec![
        Span::styled(" Ferry ", Style::new().fg(Color::Black).bg(ACCENT).bold()),
        Span::raw(format!("  {running} of {all} running  ")),
        Span::raw(format!("CPU {:.1}%  ", total.cpu)).dim(),
        Span::raw(format!("memory {}  ", size(total.memory))).dim(),
        Span::raw(app.endpoint.as_str()).dim(),
    ]))
}

fn footer(app: &App) -> Paragraph<'_> {
    if let Some((verb, _, name)) = &app.asked {
        let words = format!(" ferry {} {name}? y = yes, any other key = no", verb.word());
        return Paragraph::new(words).style(Style::new().fg(Color::Red).bold());
    }
    if app.typing {
        return Paragraph::new(format!(" /{}▏", app.filter)).fg(ACCENT);
    }
    if let Some((text, good)) = &app.message {
        let colour = if *good { Color::Green } else { Color::Red };
        return Paragraph::new(format!(" {text}")).fg(colour);
    }
    let keys: &[(&str, &str)] = match app.view {
        View::List => &[
            ("↵", "log"),
            ("u", "usage"),
            ("e", "shell"),
            ("s", "start/stop"),
            ("r", "restart"),
            ("p", "pause"),
            ("d", "remove"),
            ("/", "filter"),
            ("Tab", "images…"),
            ("?", "help"),
            ("q", "quit"),
        ],
        View::Things(_) => &[("Tab", "next list"), ("d", "remove"), ("/", "filter"), ("q", "back")],
        View::Log => &[("↑↓", "scroll"), ("f", "follow"), ("/", "filter"), ("q", "back")],
        View::Usage | View::Help => &[("q", "back")],
    };
    let spans = keys.iter().flat_map(|(key, does)| {
        [Span::styled(format!(" {key} "), Style::new().fg(ACCENT).bold()), Span::raw(*does).dim()]
    });
    Paragraph::new(Text::from_iter(spans))
}

fn framed(title: String) -> Block<'static> {
    Block::new()
        .borders(Borders::TOP | Borders::BOTTOM)
        .border_style(Style::new().dim())
        .title(Span::styled(title, Style::new().bold()))
        .padding(Padding::horizontal(1))
}

fn list(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let shown = app.shown();
    let title = match app.filter.as_str() {
        "" => " Containers ".to_owned(),
        filter => format!(" Containers with {filter:?} "),
    };
    if shown.is_empty() {
        let words = if app.filter.is_empty() {
            "No containers yet. Start one:  ferry run -d -p 8080:80 ferry/welcome"
        } else {
            "Nothing matches. Esc shows all of them."
        };
        frame.render_widget(Paragraph::new(words).dim().block(framed(title)), area);
        return;
    }
    let wide = area.width >= 100;
    let mut titles = vec!["NAME", "STATUS", "CPU", "MEMORY"];
    let mut widths = vec![
        Constraint::Fill(4),
        if wide { Constraint::Length(27) } else { Constraint::Fill(3) },
        Constraint::Length(7),
        Constraint::Length(9),
    ];
    if wide {
        titles.extend(["PIDS", "IMAGE", "PORTS"]);
        widths.extend([Constraint::Length(5), Constraint::Fill(2), Constraint::Fill(2)]);
    }
    let rows = shown.iter().map(|container| {
        let used = app.uses.get(&container.id).and_then(|uses| uses.back());
        row(container, used, wide)
    });
    let table = Table::new(rows, widths)
        .header(Row::new(titles).style(Style::new().dim().bold()))
        .column_spacing(2)
        .row_highlight_style(Style::new().bg(Color::DarkGray).fg(Color::White))
        .highlight_symbol("▌")
        .block(framed(title));
    let mut state = TableState::default().with_selected(Some(app.place()));
    frame.render_stateful_widget(table, area, &mut state);
}

fn row<'a>(container: &'a Container, used: Option<&Use>, wide: bool) -> Row<'a> {
    let colour = match container.state.as_str() {
        _ if container.status.contains("(unhealthy)") => Color::Red,
        "running" => Color::Green,
        "paused" | "restarting" => Color::Yellow,
        "dead" => Color::Red,
        _ => Color::DarkGray,
    };
    // Docker's words have it at their end, where it would be cut off.
    let words = match container.state.as_str() {
        "paused" => "Paused",
        _ => container.status.as_str(),
    };
    let status = Text::from(vec![Span::styled("● ", Style::new().fg(colour)), Span::raw(words)]);
    let (cpu, memory, processes) = match used {
        Some(used) => (format!("{:.1}%", used.cpu), size(used.memory), used.processes.to_string()),
        None => (String::new(), String::new(), String::new()),
    };
    let mut cells = vec![
        Cell::from(container.name().to_owned()).style(Style::new().add_modifier(Modifier::BOLD)),
        Cell::from(status),
        Cell::from(cpu),
        Cell::from(memory),
    ];
    if wide {
        cells.push(Cell::from(processes));
        cells.push(Cell::from(container.image.as_str()));
        cells.push(Cell::from(container.ports()));
    }
    Row::new(cells)
}

fn things(frame: &mut Frame<'_>, app: &App, kind: Kind, area: Rect) {
    let (name, beside) = kind.titles();
    let shown = app.things();
    let title = match app.filter.as_str() {
        "" => format!(" {name} "),
        filter => format!(" {name} with {filter:?} "),
    };
    if shown.is_empty() {
        frame.render_widget(Paragraph::new("Nothing here.").dim().block(framed(title)), area);
        return;
    }
    let titles = std::iter::once("NAME").chain(beside);
    let rows = shown.iter().map(|thing| {
        let name = Cell::from(thing.name.as_str()).style(Style::new().bold());
        Row::new(std::iter::once(name).chain(thing.beside.iter().map(|text| text.as_str().into())))
    });
    let fills =
        [Constraint::Fill(4), Constraint::Fill(2), Constraint::Fill(2), Constraint::Fill(2)];
    let table = Table::new(rows, fills)
        .header(Row::new(titles).style(Style::new().dim().bold()))
        .column_spacing(2)
        .row_highlight_style(Style::new().bg(Color::DarkGray).fg(Color::White))
        .highlight_symbol("▌")
        .block(framed(title));
    let mut state = TableState::default().with_selected(Some(app.thing));
    frame.render_stateful_widget(table, area, &mut state);
}

fn log(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let name = app.current().map(|container| container.name().to_owned()).unwrap_or_default();
    let lines = app.lines();
    let height = usize::from(area.height.saturating_sub(2));
    let end = lines.len().saturating_sub(app.back);
    let shown = &lines[end.saturating_sub(height)..end];
    let state = if app.back == 0 { "following" } else { "f follows" };
    let filter = match app.filter.as_str() {
        "" => String::new(),
        filter => format!(" with {filter:?}"),
    };
    let title = format!(" Log of {name}: {} lines{filter}, {state} ", lines.len());
    let text: Vec<Text<'_>> = shown
        .iter()
        .map(|line| {
            let style = if line.error { Style::new().fg(Color::Yellow) } else { Style::new() };
            Text::styled(line.text.as_str(), style)
        })
        .collect();
    frame.render_widget(Paragraph::new(text).block(framed(title)), area);
}

fn usage(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let Some(container) = app.current() else { return };
    let block = framed(format!(" Usage of {} ", container.name()));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let Some(uses) = app.uses.get(&container.id) else {
        frame.render_widget(Paragraph::new("It is not running.").dim(), inner);
        return;
    };
    let [cpu, memory] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(inner);
    let last = uses.back().copied().unwrap_or_default();
    let limit = if last.limit > 0 { format!(" of {}", size(last.limit)) } else { String::new() };
    let width = usize::from(inner.width);
    let tail = |figure: fn(&Use) -> u64| -> Vec<u64> {
        uses.iter().skip(uses.len().saturating_sub(width)).map(figure).collect()
    };
    for (area, title, data, colour) in [
        (cpu, format!("CPU {:.1}%", last.cpu), tail(|one| (one.cpu * 10.0) as u64), ACCENT),
        (
            memory,
            format!("Memory {}{limit}", size(last.memory)),
            tail(|one| one.memory),
            Color::Green,
        ),
    ] {
        let graph = Sparkline::default()
            .data(data)
            .style(Style::new().fg(colour))
            .block(Block::new().title(Span::raw(title).bold()).padding(Padding::bottom(1)));
        frame.render_widget(graph, area);
    }
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let keys = [
        ("↑ ↓ j k g G", "move"),
        ("Enter l", "the log of the container; q or Esc comes back"),
        ("u", "what it uses, over time"),
        ("e", "a shell in it; it takes the whole terminal until it ends"),
        ("s", "start or stop"),
        ("r", "restart"),
        ("p", "pause or resume"),
        ("d", "remove, after a question"),
        ("/", "only what has this in it; Esc shows everything again"),
        ("Tab", "images, volumes, networks, and the containers again; d removes there, too"),
        ("q Ctrl-C", "quit"),
    ];
    let lines: Vec<Text<'_>> = keys
        .iter()
        .map(|(key, does)| {
            Text::from(vec![
                Span::styled(format!("{key:<14}"), Style::new().fg(ACCENT).bold()),
                Span::raw(*does),
            ])
        })
        .collect();
    frame.render_widget(Paragraph::new(lines).block(framed(" Keys ".to_owned())), area);
}
