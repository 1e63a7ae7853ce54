//! What the screen looks like.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize},
    text::{Line as Text, Span},
    widgets::{Block, Borders, Cell, Padding, Paragraph, Row, Sparkline, Table, TableState, Wrap},
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
        View::Why => why(frame, app, body),
        View::Things(kind) => things(frame, app, kind, body),
    }
    frame.render_widget(footer(app, foot.width), foot);
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

fn footer(app: &App, width: u16) -> Paragraph<'_> {
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
    Paragraph::new(Text::from_iter(keys(app.view, width)))
}

/// The keys of a view, as many as there is room for; the last two of them in any case.
fn keys(view: View, width: u16) -> Vec<Span<'static>> {
    let keys: &[(&str, &str)] = match view {
        View::List => &[
            ("↵", "log"),
            ("u", "usage"),
            ("e", "shell"),
            ("s", "start/stop"),
            ("r", "restart"),
            ("p", "pause"),
            ("d", "remove"),
            ("w", "why"),
            ("/", "filter"),
            ("Tab", "images…"),
            ("?", "help"),
            ("q", "quit"),
        ],
        View::Things(_) => &[("Tab", "next list"), ("d", "remove"), ("/", "filter"), ("q", "back")],
        View::Log => &[("↑↓", "scroll"), ("f", "follow"), ("/", "filter"), ("q", "back")],
        View::Usage | View::Help | View::Why => &[("q", "back")],
    };
    let long = |(key, does): &(&str, &str)| key.chars().count() + does.chars().count() + 2;
    let (first, last) = keys.split_at(keys.len().saturating_sub(2));
    let mut room = usize::from(width).saturating_sub(last.iter().map(long).sum());
    let fitting = first.iter().take_while(|key| {
        let fits = long(key) <= room;
        room = room.saturating_sub(long(key));
        fits
    });
    fitting
        .chain(last)
        .flat_map(|(key, does)| {
            let key = format!(" {key} ");
            [Span::styled(key, Style::new().fg(ACCENT).bold()), Span::raw(*does).dim()]
        })
        .collect()
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
    let room = Room::of(area.width);
    let titles = ["NAME", "STATUS", "CPU", "MEMORY", "PIDS", "IMAGE", "PORTS"];
    let widths = [
        Constraint::Fill(4),
        Constraint::Length(match room {
            Room::Tiny => 13,
            Room::Little => 14,
            Room::Some | Room::Much => 27,
        }),
        Constraint::Length(7),
        Constraint::Length(9),
        Constraint::Length(5),
        Constraint::Fill(2),
        Constraint::Fill(2),
    ];
    let (titles, widths) = (&titles[..room.columns()], &widths[..room.columns()]);
    let rows = shown.iter().map(|container| {
        let used = app.uses.get(&container.id).and_then(|uses| uses.back());
        row(container, used, room)
    });
    let table = Table::new(rows, widths)
        .header(Row::new(titles.to_vec()).style(Style::new().dim().bold()))
        .column_spacing(2)
        .row_highlight_style(Style::new().bg(Color::DarkGray).fg(Color::White))
        .highlight_symbol("▌")
        .block(framed(title));
    let mut state = TableState::default().with_selected(Some(app.place()));
    frame.render_stateful_widget(table, area, &mut state);
}

/// How much of a container there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Room {
    /// Its name and its state.
    Tiny,
    /// What it uses, too.
    Little,
    /// Since when.
    Some,
    /// All of it.
    Much,
}

impl Room {
    fn of(width: u16) -> Room {
        match width {
            0..60 => Room::Tiny,
            60..75 => Room::Little,
            75..100 => Room::Some,
            _ => Room::Much,
        }
    }

    fn columns(self) -> usize {
        match self {
            Room::Tiny => 2,
            Room::Little | Room::Some => 4,
            Room::Much => 7,
        }
    }
}

/// Docker's words for a state, in little room without the time: what is at their end would be cut off.
fn status(container: &Container, room: Room) -> String {
    let words = container.status.trim_end_matches(" ago");
    if container.state == "paused" {
        return "Paused".to_owned();
    }
    if room >= Room::Some {
        return words.to_owned();
    }
    match words.rsplit_once(" (") {
        // `Up 3 minutes (healthy)`
        Some((before, health)) if before.starts_with("Up") => {
            health.trim_end_matches(')').trim_start_matches("health: ").to_owned()
        }
        // `Exited (3) 2 minutes`
        _ => words
            .split(' ')
            .take(2)
            .filter(|word| !word.starts_with(char::is_numeric))
            .collect::<Vec<_>>()
            .join(" "),
    }
}

fn row<'a>(container: &'a Container, used: Option<&Use>, room: Room) -> Row<'a> {
    let colour = match container.state.as_str() {
        _ if container.status.contains("(unhealthy)") => Color::Red,
        "running" => Color::Green,
        "paused" | "restarting" => Color::Yellow,
        "dead" => Color::Red,
        _ => Color::DarkGray,
    };
    let status = Text::from(vec![
        Span::styled("● ", Style::new().fg(colour)),
        Span::raw(status(container, room)),
    ]);
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
    cells.extend([
        Cell::from(processes),
        Cell::from(container.image.as_str()),
        Cell::from(container.ports()),
    ]);
    cells.truncate(room.columns());
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
    // In little room the name and the most telling figure, of an image's name its end.
    let little = Room::of(area.width) < Room::Some;
    let places: &[usize] = match kind {
        Kind::Images if little => &[1],
        Kind::Volumes | Kind::Networks if little => &[if kind == Kind::Volumes { 2 } else { 1 }],
        _ => &[0, 1, 2],
    };
    let width = if little { usize::from(area.width.saturating_sub(15)) } else { usize::MAX };
    let titles = std::iter::once("NAME").chain(places.iter().map(|place| beside[*place]));
    let rows = shown.iter().map(|thing| {
        let name = Cell::from(ending(&thing.name, width)).style(Style::new().bold());
        let figures = places.iter().map(|place| match beside[*place] {
            "USED BY" => Cell::from(app.users(kind, thing)),
            _ => Cell::from(thing.beside[*place].as_str()),
        });
        Row::new(std::iter::once(name).chain(figures))
    });
    let mut fills = vec![Constraint::Fill(4)];
    let narrow = if little { Constraint::Length(10) } else { Constraint::Fill(2) };
    fills.extend(places.iter().map(|_| narrow));
    let table = Table::new(rows, fills)
        .header(Row::new(titles).style(Style::new().dim().bold()))
        .column_spacing(2)
        .row_highlight_style(Style::new().bg(Color::DarkGray).fg(Color::White))
        .highlight_symbol("▌")
        .block(framed(title));
    let mut state = TableState::default().with_selected(Some(app.thing));
    frame.render_stateful_widget(table, area, &mut state);
}

/// The end of a text that has too little room.
fn ending(text: &str, width: usize) -> String {
    let long = text.chars().count();
    if long <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    std::iter::once('…').chain(text.chars().skip(long - kept)).collect()
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
    if lines.is_empty() {
        let words = if app.filter.is_empty() { "Nothing so far." } else { "Nothing matches." };
        frame.render_widget(Paragraph::new(words).dim().block(framed(title)), area);
        return;
    }
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

fn why(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let name = app.current().map(|container| container.name().to_owned()).unwrap_or_default();
    let lines: Vec<Text<'_>> = app.why.iter().map(|line| Text::raw(line.as_str())).collect();
    let said = Paragraph::new(lines).wrap(Wrap { trim: false });
    frame.render_widget(said.block(framed(format!(" Why {name} "))), area);
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let keys = [
        ("↑ ↓ j k", "move; Page Up and Page Down by a page"),
        ("g G", "to the first, to the last"),
        ("Enter l", "the log of the container; there f follows it again"),
        ("u", "what it uses, over time"),
        ("e", "a shell in it; it takes the whole terminal until it ends"),
        ("s", "start or stop"),
        ("r", "restart"),
        ("p", "pause or resume"),
        ("d", "remove, after a question; in the other lists, too"),
        ("w", "why it ended, or what is wrong with it"),
        ("/", "only what has this in it; Esc shows everything again"),
        ("Tab", "images, volumes, networks, and the containers again"),
        ("q Esc", "back"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_fit_their_room() {
        let of = |state: &str, status: &str, room| {
            let json = serde_json::json!({ "Id": "1", "Names": [], "Image": "", "State": state, "Status": status });
            super::status(&serde_json::from_value(json).unwrap(), room)
        };
        for (state, words, little, some) in [
            ("running", "Up 3 minutes", "Up", "Up 3 minutes"),
            ("running", "Up 3 minutes (healthy)", "healthy", "Up 3 minutes (healthy)"),
            (
                "running",
                "Up 1 second (health: starting)",
                "starting",
                "Up 1 second (health: starting)",
            ),
            ("paused", "Up 2 days (Paused)", "Paused", "Paused"),
            ("exited", "Exited (137) 2 hours ago", "Exited (137)", "Exited (137) 2 hours"),
            ("created", "Created", "Created", "Created"),
        ] {
            assert_eq!(of(state, words, Room::Little), little);
            assert_eq!(of(state, words, Room::Some), some);
        }
    }

    #[test]
    fn the_way_out_is_always_there() {
        for width in [0, 16, 30, 80, 200] {
            let line: String =
                keys(View::List, width).iter().map(|span| span.content.as_ref()).collect();
            assert!(line.ends_with(" ? help q quit"), "{line}");
            assert!(line.chars().count() <= usize::from(width.max(15)), "{width}: {line}");
        }
        assert_eq!(
            (ending("long/name:tag", 8), ending("short", 8)),
            ("…ame:tag".into(), "short".into())
        );
    }
}
