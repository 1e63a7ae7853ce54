//! What a template is when it was read.

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Text(String),
    Action(Pipe),
    If { pipe: Pipe, then: Vec<Node>, otherwise: Vec<Node> },
    With { pipe: Pipe, then: Vec<Node>, otherwise: Vec<Node> },
    Range { pipe: Pipe, body: Vec<Node>, otherwise: Vec<Node> },
    Template { name: String, pipe: Option<Pipe>, offset: usize, end: usize },
    Break,
    Continue,
}

/// `$a, $b := cmd | cmd`
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Pipe {
    pub(crate) variables: Vec<String>,
    pub(crate) declares: bool,
    pub(crate) commands: Vec<Command>,
}

/// A function or value with arguments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Command {
    pub(crate) operands: Vec<Operand>,
    pub(crate) offset: usize,
    pub(crate) end: usize,
}

/// A value in the text, from `offset` to `end`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    pub(crate) kind: Kind,
    /// Fields behind it: `.a.b` is dot with two.
    pub(crate) fields: Vec<String>,
    pub(crate) offset: usize,
    pub(crate) end: usize,
    /// Where Go says that it is: at the second field of a chain.
    pub(crate) position: usize,
}

impl Operand {
    /// It stands in the template itself.
    pub(crate) fn is_literal(&self) -> bool {
        let literal = matches!(
            self.kind,
            Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::String(_) | Kind::Nil
        );
        literal && self.fields.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Dot,
    Nil,
    Variable(String),
    Function(String),
    Bool(bool),
    Int(i64),
    Float(f64),
    String(String),
    Paren(Box<Pipe>),
}

/// Whether a node asks for a field of this name, or for everything.
pub(crate) fn node_mentions(node: &Node, name: &str) -> bool {
    let any = |nodes: &[Node]| nodes.iter().any(|node| node_mentions(node, name));
    match node {
        Node::Text(_) | Node::Break | Node::Continue => false,
        Node::Action(pipe) => pipe_mentions(pipe, name),
        Node::If { pipe, then, otherwise }
        | Node::With { pipe, then, otherwise }
        | Node::Range { pipe, body: then, otherwise } => {
            pipe_mentions(pipe, name) || any(then) || any(otherwise)
        }
        Node::Template { pipe, .. } => pipe.as_ref().is_some_and(|pipe| pipe_mentions(pipe, name)),
    }
}

fn pipe_mentions(pipe: &Pipe, name: &str) -> bool {
    let operands = pipe.commands.iter().flat_map(|command| &command.operands);
    operands.into_iter().any(|operand| {
        // Other variables have what was named where they were set.
        let root = match &operand.kind {
            Kind::Dot => true,
            Kind::Variable(name) => name == "$",
            _ => false,
        };
        let all = root && operand.fields.is_empty();
        let inside = matches!(&operand.kind, Kind::Paren(pipe) if pipe_mentions(pipe, name));
        all || inside || operand.fields.iter().any(|field| field == name)
    })
}
