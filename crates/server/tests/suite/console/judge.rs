//! What a page is made of, as the browser has it: whether something ran, what was stopped, what is hidden, which elements there
//! are. It knows nothing of how pages are made, and has a list of hidden characters of its own: Unicode's properties.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use crate::suite::browser::page::Browser;

/// Runs before anything of a page does: whatever would ask the person something says so instead.
const WATCH: &str = "for (const name of ['alert', 'confirm', 'prompt', 'print', 'open'])
    window[name] = () => { window.__pwned = name; };";

/// Characters that cannot be seen, or change how others are seen (Unicode Standard Annexes 9 and 44). New lines are the
/// templates' own.
const HIDDEN: &str = r"[\p{Bidi_Control}\p{Default_Ignorable_Code_Point}\p{Variation_Selector}\p{Cf}\p{Co}\p{Zl}\p{Zp}\u{2800}]|(?!\n)\p{Cc}|(?! )\p{Zs}";

const LOOK: &str = "
    const hidden = new RegExp(arguments[0], 'gu');
    const all = [...document.querySelectorAll('*')];
    const attributes = all.flatMap((element) => [...element.attributes].map(({name, value}) => ({element, name, value})));
    const texts = [document.documentElement.textContent, document.title, ...attributes.map(({value}) => value)];
    const count = (list) => list.reduce((counts, name) => ({...counts, [name]: (counts[name] ?? 0) + 1}), {});
    const leads = ['href', 'src', 'action', 'formaction', 'data', 'xlink:href', 'data-live'];
    const home = (value) => value === '' || /^[/#](?![/\\\\])/.test(value);
    return {
        ran: window.__pwned !== undefined,
        hidden: texts.flatMap((text) => text.match(hidden) ?? []).join(''),
        elements: count(all.map((element) => element.localName)),
        handlers: attributes.filter(({name}) => name.startsWith('on')).map(({name}) => name),
        styled: attributes.filter(({name}) => name === 'style' || name === 'srcdoc').length,
        leads: attributes.filter(({name, value}) => leads.includes(name) && !home(value)).map(({value}) => value),
        ceremonies: all.filter((element) => element.dataset.ceremony).map((element) => element.dataset.ceremony),
        focused: document.activeElement.localName,
    };";

/// What a page is made of.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Seen {
    /// A script ran that no page of ours has.
    pub(super) ran: bool,
    /// The hidden characters in its text and in its attributes.
    pub(super) hidden: String,
    /// What came to the console, violations of the content policy among it.
    #[serde(skip)]
    pub(super) said: Vec<String>,
    /// How many there are of each element.
    elements: BTreeMap<String, usize>,
    /// Attributes that would run.
    handlers: Vec<String>,
    /// Elements with a look or a document of their own.
    styled: usize,
    /// Addresses of another place.
    leads: Vec<String>,
    /// What can be signed on it.
    ceremonies: Vec<String>,
    /// What has the focus.
    focused: String,
}

/// Elements of which a text that is only text makes one more or less: parts of lines.
const OF_TEXT: [&str; 6] = ["mark", "p", "div", "span", "details", "summary"];
/// Elements of pages that grow with the log beside: a list of the like before.
const OF_LISTS: [&str; 5] = ["ul", "li", "a", "b", "time"];

/// Elements that no page of the console has.
const FOREIGN: [&str; 16] = [
    "img",
    "iframe",
    "object",
    "embed",
    "style",
    "base",
    "math",
    "video",
    "audio",
    "source",
    "marquee",
    "template",
    "animate",
    "set",
    "foreignObject",
    "x-approved",
];

impl Seen {
    /// Whether it has nothing that a page with a harmless text in the same place does not have.
    pub(super) fn is_as_tame_as(&self, tame: &Self) -> bool {
        let grew = |(name, count): (&String, &usize)| {
            let free = OF_TEXT.contains(&name.as_str()) || OF_LISTS.contains(&name.as_str());
            if free { false } else { tame.elements.get(name) != Some(count) }
        };
        !self.ran
            && self.said.is_empty()
            && self.handlers == tame.handlers
            && self.styled == tame.styled
            && self.leads == tame.leads
            && self.ceremonies == tame.ceremonies
            && self.focused == tame.focused
            && !self.elements.iter().any(grew)
    }

    /// Nothing runs, hides, was stopped or leads elsewhere, and there is no element that only somebody else would have made.
    #[track_caller]
    pub(super) fn assert_quiet(&self, what: &str) {
        let quiet = !self.ran && self.hidden.is_empty() && self.said.is_empty() && self.styled == 0;
        let none = self.handlers.is_empty() && self.leads.is_empty();
        let foreign = FOREIGN.iter().any(|name| self.elements.contains_key(*name));
        assert!(quiet && none && !foreign && self.elements["script"] == 2, "{what}: {self:?}");
    }

    #[track_caller]
    pub(super) fn assert_tame(&self, tame: &Self, what: &str) {
        assert_eq!(self.hidden, "", "{what}: {:?} reaches the page", self.hidden);
        assert!(self.is_as_tame_as(tame), "{what}:\n{self:?}\nand with a harmless text\n{tame:?}");
    }
}

/// From its next page on, a browser notes what runs.
pub(super) async fn watched(browser: &Browser) {
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": WATCH})).await;
    browser.console().await;
}

/// Looks at the page that is open. A dialog that is open fails this.
pub(super) async fn judged(browser: &Browser) -> Seen {
    let seen = browser.run(LOOK, vec![json!(HIDDEN)]).await;
    let seen: Seen = serde_json::from_value(seen).unwrap();
    Seen { said: browser.console().await, ..seen }
}

/// The hidden characters of a text, as the browser knows them.
pub(super) async fn hidden_in(browser: &Browser, text: &str) -> Vec<char> {
    let script = "return (arguments[1].match(new RegExp(arguments[0], 'gu')) ?? []).join('')";
    let found = browser.run(script, vec![json!(HIDDEN), json!(text)]).await;
    found.as_str().unwrap().chars().collect()
}
