"""Chat templates that produce the formats of known model families, and the conversations to render with them.

Every template here was written for poq; none is a publisher's. What they share with the published ones is the text they
produce and the constructs they need for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Template:
    """One template, with the tokens its model has and the conversations to try it on."""

    family: str
    source: str
    conversations: tuple[str, ...]
    bos_token: str | None = None
    eos_token: str | None = None
    variables: dict[str, Any] = field(default_factory=dict)  # handed over beside the messages
    open_ended: bool = False  # also rendered without a generation prompt


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def system(content: Any) -> dict[str, Any]:
    return {"role": "system", "content": content}


CONVERSATIONS: dict[str, Messages] = {
    "plain": [user("What is a lighthouse?")],
    "instructed": [system("Answer in one sentence."), user("What is a lighthouse?")],
    "turns": [user("Name a colour."), assistant("Blue."), user("Another one?")],
    "instructed_turns": [
        system("Be brief."),
        user("Name a colour."),
        assistant("Blue."),
        user("Another?"),
        assistant("Red."),
        user("Third?"),
    ],
    "ends_with_assistant": [user("Name a colour."), assistant("Blue.")],
    "spaces": [
        system("\n Keep the spaces.  "),
        user("  leading, trailing \t\n\n"),
        assistant(" inner   ones \n"),
        user("\n"),
    ],
    "newlines": [user("first\n\nthird\r\nfourth\n"), assistant("1.\n2.\n"), user("```python\n    x = {1: 2}\n```")],
    "unicode": [user("Ünïcödé «quotes», 日本語, العربية, ½ ², e\u0301, no\u00a0break, zero\u200bwidth, 👩\u200d🚀🇫🇷")],
    "unicode_spaces": [user("\u00a0\u2003\u3000wide\u3000\u2028")],
    "markup": [user("<b>5 < 6 && \"double\" 'single'</b> &amp; <|im_end|></s>")],
    "braces": [
        user("{{ messages }} {% if true %}{# no comment #}{%- raw -%} ${x} {}"),
        assistant("{{{ a }}}"),
        user("\\n \\ %s {0}"),
    ],
    "empty": [system(""), user("")],
    "system_in_the_middle": [user("Hello."), system("Be brief."), user("Again.")],
    "two_users": [user("Hello."), user("Are you there?")],
    "starts_with_assistant": [assistant("Hello."), user("Hi.")],
    "unknown_role": [{"role": "narrator", "content": "Meanwhile."}, user("And then?")],
    "parts": [user([{"type": "text", "text": " What is "}, {"type": "image"}, {"type": "text", "text": "this? "}])],
    "instructed_parts": [
        system([{"type": "text", "text": "Be brief."}]),
        user([{"type": "text", "text": "What is a lighthouse?"}]),
    ],
}

TEXTS = ("plain", "unicode", "unicode_spaces", "markup", "braces", "spaces", "newlines", "empty")
DIALOGUES = ("instructed", "turns", "instructed_turns", "ends_with_assistant")

ZEPHYR = """\
{% for turn in messages %}
    {% if turn['role'] in ['system', 'user', 'assistant'] %}
{{ '<|' + turn['role'] + '|>\\n' + turn['content'] + eos_token }}
    {% else %}
        {{ raise_exception('unknown role ' + turn['role']) }}
    {% endif %}
    {% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
    {% endif %}
{% endfor %}
"""

LLAMA_HEADER = """\
{{- bos_token }}
%s
{%%- set turns = messages %%}
{%%- set instructions = '' %%}
{%%- if messages[0].role == 'system' %%}
    {%%- set instructions = messages[0]['content'] | trim %%}
    {%%- set turns = messages[1:] %%}
{%%- endif %%}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nCutting Knowledge Date: December 2023\\n' }}
{{- 'Today Date: ' + date_string + '\\n\\n' + instructions + '<|eot_id|>' }}
{%%- for turn in turns %%}
    {{- '<|start_header_id|>' + turn.role + '<|end_header_id|>\\n\\n' + turn.content | trim + '<|eot_id|>' }}
{%%- endfor %%}
{%%- if add_generation_prompt %%}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%%- endif %%}
"""

FIXED_DATE = """\
{%- if not date_string is defined %}
    {%- set date_string = '26 Jul 2024' %}
{%- endif %}"""

CLOCK_DATE = """\
{%- if date_string is not defined %}
    {%- set date_string = strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024' %}
{%- endif %}"""

QWEN2 = """\
{%- for turn in messages -%}
    {%- if loop.first and turn.role != 'system' -%}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
    {%- endif -%}
    {{- '<|im_start|>' ~ turn.role ~ '\\n' ~ turn.content ~ '<|im_end|>' ~ '\\n' -}}
{%- endfor -%}
{{- '<|im_start|>assistant\\n' if add_generation_prompt -}}
"""

QWEN2_WITH_TOOLS = """\
{%- set opening = messages[0].content if messages[0].role == 'system' else 'You are a helpful assistant.' %}
{{- '<|im_start|>system\\n' + opening }}
{%- if tools %}
    {{- '\\n\\n# Tools\\n<tools>' }}
    {%- for tool in tools %}
        {{- '\\n' + (tool | tojson) }}
    {%- endfor %}
    {{- '\\n</tools>' }}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- for turn in messages %}
    {%- if not turn.tool_calls and not (loop.first and turn.role == 'system') %}
        {{- '<|im_start|>' + turn.role + '\\n' + turn.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

QWEN3 = """\
{%- set last = namespace(question=-1) %}
{%- for turn in messages[::-1] %}
    {%- set place = messages | length - 1 - loop.index0 %}
    {%- set asks = turn.role == 'user' and turn.content is string and not turn.content.startswith('<tool_response>') %}
    {%- if asks and last.question < 0 %}
        {%- set last.question = place %}
    {%- endif %}
{%- endfor %}
{%- for turn in messages %}
    {%- set text = turn.content if turn.content is string else '' %}
    {%- if turn.role == 'assistant' and '</think>' in text %}
        {%- set parts = text.split('</think>') %}
        {%- set thought = (parts[0].rstrip('\\n').split('<think>') | last).lstrip('\\n') %}
        {%- set text = parts[-1].lstrip('\\n') %}
        {%- if loop.index0 > last.question %}
            {%- set text = '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + text %}
        {%- endif %}
    {%- endif %}
    {{- '<|im_start|>' + turn.role + '\\n' + text + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

GEMMA2 = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {{ raise_exception('no system role here') }}
{%- endif -%}
{%- for turn in messages -%}
    {%- if turn['role'] != ['user', 'assistant'][loop.index0 % 2] -%}
        {{ raise_exception('roles must alternate: user, assistant, user, ...') }}
    {%- endif -%}
    {%- set role = 'model' if turn['role'] == 'assistant' else turn['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' + turn['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<start_of_turn>model\\n' }}
{%- endif -%}
"""

GEMMA3 = """\
{{- bos_token -}}
{%- set opening = '' -%}
{%- set turns = messages -%}
{%- if messages[0].role == 'system' -%}
    {%- set given = messages[0].content -%}
    {%- set opening = (given if given is string else given[0].text) ~ '\\n\\n' -%}
    {%- set turns = messages[1:] -%}
{%- endif -%}
{%- for turn in turns -%}
    {%- if (loop.index0 % 2 == 0) != (turn.role == 'user') -%}
        {{- raise_exception('roles must alternate after the system message') -}}
    {%- endif -%}
    {{- '<start_of_turn>' ~ ('model' if turn.role == 'assistant' else turn.role) ~ '\\n' ~ (opening if loop.first) -}}
    {%- if turn.content is string -%}
        {{- turn.content | trim -}}
    {%- elif turn.content is iterable -%}
        {%- for part in turn.content -%}
            {%- if part.type == 'image' -%}
                {{- '<start_of_image>' -}}
            {%- elif part['type'] == 'text' -%}
                {{- part['text'] | trim -}}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{- raise_exception('content of an unknown kind') -}}
    {%- endif -%}
    {{- '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<start_of_turn>model\\n' -}}
{%- endif -%}
"""

PHI3 = """\
{% for turn in messages if turn.content or turn.role != 'system' %}
{{ '<|' ~ turn.role ~ '|>\\n' ~ turn.content ~ '<|end|>' }}
{% endfor %}
{{ '<|assistant|>\\n' if add_generation_prompt else eos_token }}"""

SMOLLM2 = """\
{% set opening = [{'role': 'system', 'content': 'You are a helpful AI assistant.'}] %}
{% for turn in (messages if messages[0].role == 'system' else opening + messages) %}
<|im_start|>{{ turn['role'] }}
{{ turn['content'] + '<|im_end|>
' }}{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}"""

MISTRAL = """\
{%- if messages[0]['role'] == 'system' -%}
    {%- set first, turns = messages[0]['content'], messages[1:] -%}
{%- else -%}
    {%- set first, turns = none, messages -%}
{%- endif -%}
{{- bos_token -}}
{%- for turn in turns -%}
    {%- if turn.role == 'user' -%}
        {%- if loop.index0 % 2 == 1 -%}{{- raise_exception('a user turn at an odd place: ' ~ loop.index) -}}{%- endif -%}
        {{- '[INST] ' + (first + '\\n\\n' if first is not none and loop.last else '') + turn.content + ' [/INST]' -}}
    {%- elif turn.role == 'assistant' -%}
        {{- ' ' + turn.content.strip() + eos_token -}}
    {%- else -%}
        {{- raise_exception('only user and assistant turns, found ' + turn.role) -}}
    {%- endif -%}
{%- endfor -%}
"""

THINKING: Messages = [
    user("2 + 2?"),
    assistant("<think>\nEasy.\n</think>\n\n4"),
    user("3 + 3?"),
    assistant("<think>\n\nHm.\n</think>\n\n6"),
]
CONVERSATIONS["thinking"] = THINKING
CONVERSATIONS["thinking_then_user"] = THINKING + [user("4 + 4?")]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": 'Looks <up> a word & its "sense", dé jà.',
            "parameters": {
                "type": "object",
                "properties": {"word": {"type": "string"}, "at_most": {"type": "integer", "default": 3}},
                "required": ["word"],
            },
        },
    }
]

FAMILIES = [
    Template("zephyr", ZEPHYR, TEXTS + DIALOGUES + ("unknown_role",), "<s>", "</s>", open_ended=True),
    Template("llama3.1", LLAMA_HEADER % FIXED_DATE, TEXTS + DIALOGUES, "<|begin_of_text|>", "<|eot_id|>", open_ended=True),
    Template(
        "llama3.2_date_given",
        LLAMA_HEADER % CLOCK_DATE,
        ("plain", "instructed"),
        "<|begin_of_text|>",
        "<|eot_id|>",
        {"date_string": "01 Feb 2003"},
    ),
    Template(
        "llama3.2_date_of_the_clock", LLAMA_HEADER % CLOCK_DATE, ("plain", "instructed"), "<|begin_of_text|>", "<|eot_id|>"
    ),
    Template("qwen2", QWEN2, TEXTS + DIALOGUES, None, "<|im_end|>", open_ended=True),
    Template("qwen2_tools", QWEN2_WITH_TOOLS, ("plain", "instructed_turns", "system_in_the_middle"), None, "<|im_end|>"),
    Template("qwen2_tools_given", QWEN2_WITH_TOOLS, ("plain",), None, "<|im_end|>", {"tools": TOOLS}),
    Template("qwen3", QWEN3, ("plain", "turns", "thinking", "thinking_then_user", "newlines"), None, "<|im_end|>"),
    Template("qwen3_without_thinking", QWEN3, ("plain",), None, "<|im_end|>", {"enable_thinking": False}),
    Template(
        "gemma2",
        GEMMA2,
        TEXTS[:5] + ("newlines", "turns", "ends_with_assistant", "instructed", "two_users", "starts_with_assistant"),
        "<bos>",
        "<eos>",
        open_ended=True,
    ),
    Template(
        "gemma3", GEMMA3, TEXTS + DIALOGUES + ("parts", "instructed_parts", "two_users"), "<bos>", "<eos>", open_ended=True
    ),
    Template("phi3", PHI3, TEXTS + DIALOGUES, "<s>", "<|endoftext|>", open_ended=True),
    Template("smollm2", SMOLLM2, TEXTS + DIALOGUES, "<|im_start|>", "<|im_end|>", open_ended=True),
    Template(
        "mistral",
        MISTRAL,
        ("plain", "instructed", "turns", "instructed_turns", "spaces", "two_users", "unknown_role"),
        "<s>",
        "</s>",
    ),
]
