"""Small templates, each for one construct that published chat templates rely on."""

from __future__ import annotations

from chat_template_families import Template


def construct(name: str, source: str, *conversations: str, **rest: object) -> Template:
    """A template named after what it tries."""
    return Template(f"construct_{name}", source, conversations or ("instructed_turns",), "<s>", "</s>", **rest)


LOOP = "{% for turn in messages %}"

CONSTRUCTS = [
    # white space
    construct(
        "trim_and_lstrip_blocks",
        "A\n  {% if true %}\n    B\n  {% endif %}  \nC {% if true %} D {% endif %} E\n\t{# a comment #}\nF\n",
    ),
    construct(
        "dashes",
        "A  \n\n{%- if true -%}  \n\n B \n{%- endif %}\n\n C {{- ' D ' -}} \n E {{ 'F' -}}\n\n G\n{#- comment -#}\n H",
    ),
    construct("plus_keeps_white_space", "A\n  {%+ if true +%}\n B\n  {%+ endif %}\nC"),
    construct("last_newline_goes", "A\n\n"),
    construct("indented_output_stays", "{% if true %}\n    {{ 'A' }}\n    {{ 'B' }}\n{% endif %}"),
    construct("carriage_returns_in_the_template", "A\r\n{% if true %}\r\nB{{ 'x\r\ny' }}\r\n{% endif %}\r\nC\r\n"),
    construct("escapes_in_strings", r"""{{ 'a\nb\tc\\d\'e\"f' }}{{ "g'h" }}{{ '\u00e9\x41' }}{{ '\d\.' }}"""),
    construct("escaped_slash", r"{{ '\/' }}"),
    construct("strings_side_by_side", "{{ 'a' 'b' \"c\" }}"),
    construct("raw", "{% raw %}{{ x }}{% y %}{% endraw %}"),
    construct("not_escaped_as_html", "{{ messages[0].content }}{{ messages[0]['content'] | string }}", "markup"),
    # loops
    construct(
        "loop_variables",
        LOOP + "{{ loop.index }}/{{ loop.length }} {{ loop.index0 % 2 }} {{ loop.revindex }} {{ loop.revindex0 }} "
        "{{ loop.first }} {{ loop.last }}\n{% endfor %}",
    ),
    construct(
        "neighbours",
        LOOP + "{{ loop.previtem.role if loop.previtem is defined else '-' }}>{{ turn.role }}>"
        "{{ loop.nextitem.role if loop.nextitem is defined }};{% endfor %}",
    ),
    construct(
        "cycle_and_changed",
        LOOP + "{{ loop.cycle('odd', 'even') }}{% if loop.changed(turn.role) %}!{% endif %} {% endfor %}",
        "two_users",
    ),
    construct(
        "filtered_loop_with_else",
        "{% for turn in messages if turn.role == 'tool' %}x{% else %}none{% endfor %}"
        "{% for turn in messages if turn.role != 'system' %}{{ loop.index }}{{ turn.role }}{% endfor %}",
    ),
    construct(
        "break_and_continue",
        LOOP + "{% if turn.role == 'system' %}{% continue %}{% endif %}{{ turn.content }}{% if loop.index == 4 %}"
        "{% break %}{% endif %};{% endfor %}",
    ),
    construct(
        "range",
        "{% for i in range(messages | length) %}{{ i }}{{ messages[i].role[0] }}{% endfor %}"
        "{% for i in range(4, 0, -2) %}{{ i }}{% endfor %}",
    ),
    construct(
        "slices",
        "{{ messages[1:] | length }}{{ messages[:-1] | length }}{{ messages[-1].content }}"
        "{{ messages[::2] | length }}{{ messages[::-1][0].content }}{{ messages[0].content[:4] }}"
        "{{ messages[0].content[-3:] }}{{ messages[9:] | length }}",
    ),
    construct(
        "set_in_a_loop_stays_inside",
        "{% set seen = 'no' %}" + LOOP + "{% set seen = 'yes' %}{% endfor %}{{ seen }}",
    ),
    construct("set_in_a_condition_stays", "{% if true %}{% set seen = 'yes' %}{% endif %}{{ seen }}"),
    construct(
        "namespace",
        "{% set state = namespace(count=0, last='', seen=false) %}"
        + LOOP
        + "{% if turn.role == 'user' %}{% set state.count = state.count + 1 %}{% set state.last = turn.content %}"
        "{% set state.seen = true %}{% endif %}{% endfor %}{{ state.count }}{{ state.last }}{{ state.seen }}",
    ),
    construct(
        "unpacking",
        "{% set a, b = 'x', 'y' %}{{ a ~ b }}{% for key, value in {'b': 1, 'a': 2}.items() %}{{ key }}="
        "{{ value }};{% endfor %}",
    ),
    construct(
        "nested_loops",
        LOOP + "{% set outer = loop %}{% for word in turn.content.split(' ') %}{{ outer.index }}.{{ loop.index }}"
        "{{ word }} {% endfor %}{% endfor %}",
        "turns",
    ),
    # tests
    construct(
        "kinds",
        "{% for x in ['s', 3, 2.5, true, none, [1], {'a': 1}, gone] %}{{ x is string }}{{ x is number }}"
        "{{ x is integer }}{{ x is float }}{{ x is boolean }}{{ x is none }}{{ x is mapping }}"
        "{{ x is defined }}\n{% endfor %}",
    ),
    construct(
        "content_kinds",
        LOOP + "{% if turn.content is string %}s{% elif turn.content is mapping %}m{% elif turn.content is iterable %}"
        "{% for part in turn.content %}{{ part.type }}{% if part is mapping and part.text is defined %}:"
        "{{ part.text }}{% endif %};{% endfor %}{% endif %}{% endfor %}",
        "plain",
        "parts",
    ),
    construct("iterable_kinds", "{% for x in ['s', 3, true, [1], {'a': 1}, gone] %}{{ x is iterable }} {% endfor %}"),
    construct("none_is_not_iterable", "{{ none is iterable }}"),
    construct("sequence_kinds", "{% for x in [3, true, [1]] %}{{ x is sequence }} {% endfor %}"),
    construct("strings_and_mappings_are_sequences", "{{ 'a' is sequence }}{{ {'a': 1} is sequence }}"),
    construct(
        "undefined",
        "{{ gone }}{{ messages[0].gone }}{{ messages[0]['gone'] }}{{ gone is defined }}"
        "{{ not gone is defined }}{{ gone is not defined }}{% if gone %}x{% endif %}{% if not gone %}y"
        "{% endif %}{% for x in gone %}z{% endfor %}{{ gone | default('d') }}{{ gone == none }}"
        "{{ gone is none }}",
    ),
    construct("length_of_undefined", "{{ gone | length }}"),
    construct(
        "tools_and_documents_are_none",
        "{% if tools %}t{% endif %}{% if tools is not none %}given{% else %}none{% endif %}"
        "{% if documents is defined and documents is not none %}d{% endif %}",
    ),
    construct(
        "tools_and_documents_are_defined",
        "{{ tools is defined }}{{ tools is none }}{{ documents is defined }}{{ documents is none }}",
    ),
    construct(
        "custom_tools",
        "{% if not tools is defined %}{% set tools = none %}{% endif %}{% if custom_tools is defined %}"
        "{% set tools = custom_tools %}{% endif %}{% if tools is not none and tools | length > 0 %}with"
        "{% else %}without{% endif %}",
    ),
    construct("strftime_now_is_there", "{{ strftime_now is defined }}"),
    construct(
        "strftime_now_formats",
        "{{ strftime_now('%Y-%m-%d') }} {{ strftime_now('%d %B %Y') }} "
        "{{ strftime_now('%A, %b %d, %H:%M:%S') }} {{ strftime_now('%y%j %I%p %%') }}",
    ),
    construct(
        "date_only_without_date_string",
        "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{{ date_string }}",
        "plain",
        variables={"date_string": "26 Jul 2024"},
    ),
    construct(
        "missing_token",
        "{{ pad_token }}|{{ pad_token is defined }}|{{ bos_token is defined }}|{{ bos_token }}{{ eos_token }}",
    ),
    construct(
        "comparisons",
        "{{ 1 < 2 < 3 }}{{ 'a' in 'cat' }}{{ 'user' not in ['system'] }}{{ 'role' in messages[0] }}"
        "{{ 'name' in messages[0] }}{{ 1 == 1.0 }}{{ 'a' == 1 }}{{ true == 1 }}{{ [1, 2] == [1, 2] }}"
        "{{ 'b' > 'a' }}",
    ),
    construct(
        "truth",
        "{% for x in ['', 'a', 0, 1, 0.0, [], [0], {}, none, false] %}{{ 'T' if x else 'F' }}{% endfor %}"
        "{{ '' or 'or' }}{{ 'a' and 'and' }}{{ not '' }}{{ none or [] or 'last' }}",
    ),
    construct(
        "startingwith_and_others",
        "{{ 'abc' is lower }}{{ 4 is divisibleby 2 }}{{ 3 is odd }}{{ 'x' is eq 'x' }}{{ 'x' is in ['x'] }}"
        "{{ none is sameas none }}{{ 1 is ne 2 }}{{ true is true }}{{ 'x' is not string }}",
    ),
    # expressions
    construct(
        "concatenation",
        "{{ 'a' ~ 1 ~ none ~ true ~ 2.0 ~ gone ~ [1] }}{{ 'b' + 'c' }}{{ 'd' * 3 }}{{ [1] + [2] }}",
    ),
    construct(
        "filters_bind_tighter",
        "{{ 'a' + ' b ' | trim + 'c' }}{{ ' x ' ~ ' y ' | trim }}{{ -3 | abs }}{{ not 'a' | length > 1 }}",
    ),
    construct(
        "inline_if",
        "{{ 'a' if true }}{{ 'b' if false }}{{ ('c' if false) ~ 'd' }}{{ 'e' if false else 'f' if false else 'g' }}",
    ),
    construct(
        "arithmetic",
        "{{ 7 // 2 }} {{ 7 / 2 }} {{ 4 / 2 }} {{ 7 % 3 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 3 }} "
        "{{ 1 + 2 * 3 }} {{ (1 + 2) * 3 }} {{ 0.1 + 0.2 }}",
    ),
    construct(
        "printed_values",
        "{{ true }} {{ none }} {{ 1.0 }} {{ ['a', 1, none, true] }} {{ {'k': 'v', 'a': 1} }} {{ ('t', 1) }} "
        "{{ \"it's\" }} {{ [\"it's\", 'a\"b', 'é', '\\n'] }}",
    ),
    construct("large_floats", "{{ 1e20 }} {{ 1.5e300 }} {{ 1e-7 }}"),
    construct("printed_message", "{{ messages[0] }}", "plain"),
    construct(
        "subscripts",
        "{{ messages[0]['role'] }}{{ messages[0].role }}{{ messages[-1]['con' ~ 'tent'] }}"
        "{{ {'a': {'b': [1, 2]}}.a.b[1] }}{{ messages[0].get('name') }}{{ messages[0].get('name', 'nobody') }}"
        "{{ messages[0].get('role') }}",
    ),
    construct(
        "attribute_named_as_a_method",
        "{{ {'items': 'own', 'keys': 'k'}['items'] }}{{ messages[0]['content'].upper() }}",
    ),
    construct(
        "keys_in_order",
        "{{ messages[0].keys() | list | join(',') }}{{ messages[0] | list | join(',') }}"
        "{% for key, value in messages[0].items() %}{{ key }}:{{ value }};{% endfor %}"
        "{{ messages[0].values() | list | length }}{{ {'z': 1, 'a': 2} | dictsort }}",
    ),
    construct(
        "dict_and_items_filter",
        "{% for k, v in dict(b=1, a=2) | items %}{{ k }}{{ v }}{% endfor %}"
        "{% for k, v in {'b': 1, 'a': 2} | dictsort %}{{ k }}{{ v }}{% endfor %}",
    ),
    # filters
    construct("tojson", "{{ messages | tojson }}", "plain", "markup", "unicode", "unicode_spaces", "newlines"),
    construct(
        "tojson_layout",
        "{{ {'b': [1, 2.0, none, true], 'a': {}, 'c': [], 'd': 'é<&>'} | tojson }}\n"
        "{{ {'b': [1, {'x': 2}], 'a': {}} | tojson(indent=4) }}\n{{ [1, 2] | tojson(indent=2) }}"
        "{{ 'a\\tb' | tojson }}",
    ),
    construct("tojson_sorts_keys", "{{ {'b': 1, 'a': 'é'} | tojson(sort_keys=true) }}"),
    construct("tojson_ensures_ascii", "{{ ['é'] | tojson(ensure_ascii=true) }}{{ ['é'] | tojson(ensure_ascii=false) }}"),
    construct("tojson_separators", "{{ {'a': [1, 2]} | tojson(separators=(',', ':')) }}"),
    construct("tojson_inside_text", "{{ '{\"name\": ' ~ (messages[0].content | tojson) ~ '}' }}", "markup"),
    construct(
        "selections",
        "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
        "{{ messages | selectattr('role', '==', 'system') | map(attribute='content') | first }}"
        "{{ messages | rejectattr('role', 'eq', 'user') | map(attribute='role') | join(',') }}"
        "{{ messages | selectattr('tool_calls', 'defined') | list | length }}"
        "{{ messages | map(attribute='name', default='?') | join }}",
    ),
    construct(
        "select_and_map",
        "{{ ['', 'a', 'b'] | select | list | join('+') }}{{ [1, 2, 3] | select('odd') | join }}"
        "{{ ['a', 'b'] | map('upper') | join(', ') }}{{ ['a', 'b'] | reject('equalto', 'a') | list | length }}",
    ),
    construct(
        "text_filters",
        "{{ ' a b ' | trim }}|{{ 'xxaxx' | trim('x') }}|{{ 'the cat' | upper }}|{{ 'The' | lower }}|"
        "{{ 'the CAT' | title }}|{{ 'the CAT' | capitalize }}|{{ 'aba' | replace('a', 'c') }}|"
        "{{ 'abc' | first }}{{ 'abc' | last }}{{ 'abc' | length }}|{{ 'abc' | reverse }}|{{ 5 | string + '!' }}"
        "|{{ '7' | int + 1 }}|{{ 'x' | default('y') }}|{{ '' | default('y', true) }}|"
        "{{ none | default('z', true) }}",
    ),
    construct(
        "indent_and_wrap",
        "{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(2, true) }}|{{ 'a\\n\\nb' | indent(width=3, blank=true) }}",
    ),
    construct(
        "list_filters",
        "{{ [3, 1, 2] | sort | join }}{{ [3, 1] | max }}{{ [3, 1] | min }}{{ [1, 2] | sum }}"
        "{{ [1, 1, 2] | unique | join }}{{ [1, 2, 3] | batch(2) | list | length }}"
        "{{ ['b', 'A'] | sort | join }}{{ [1, 2] | reverse | list | join }}{{ 'ab' | list | join('-') }}"
        "{{ messages | groupby('role') | list | length }}",
    ),
    construct("escape_filter", "{{ messages[0].content | e }}", "markup"),
    construct("safe_filter", "{{ messages[0].content | safe }}", "markup"),
    construct("format_filter", "{{ '%s is %d, %.2f' | format('x', 3, 1.5) }}"),
    construct("percent_operator", "{{ '%s-%s' % ('a', 'b') }}"),
    # methods
    construct(
        "strip_methods",
        "[{{ '  a\\n' .strip() }}][{{ ' a '.lstrip() }}][{{ ' a '.rstrip() }}][{{ 'xyaxy'.strip('xy') }}]["
        "{{ '\\n\\na\\n'.lstrip('\\n') }}][{{ messages[0].content.strip() }}]",
        "unicode_spaces",
    ),
    construct("strip_takes_information_separators", "[{{ '\x1c a \x1f'.strip() }}][{{ '\x85\x0ba\x0c' | trim }}]"),
    construct(
        "split_methods",
        "{{ 'a,b,,c'.split(',') | join('|') }};{{ ' a  b '.split() | join('|') }};"
        "{{ 'a,b,c'.split(',', 1) | join('|') }};{{ 'a b c'.split(' ')[-1] }};"
        "{{ 'a\\nb\\r\\nc\\n'.splitlines() | join('|') }};{{ 'a</t>b'.split('</t>')[0] }}",
    ),
    construct("rsplit", "{{ 'a,b,c'.rsplit(',', 1) | join('|') }};{{ 'a b'.rsplit() | join('|') }}"),
    construct(
        "partition",
        "{{ 'a=b=c'.partition('=') | join('|') }};{{ 'a=b=c'.rpartition('=')[2] }};{{ 'a'.partition('=') | join('|') }}",
    ),
    construct(
        "search_methods",
        "{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith('bc') }}{{ 'abc'.startswith(('x', 'a')) }}"
        "{{ 'abcabc'.find('c') }}{{ 'abc'.find('z') }}{{ 'abca'.rfind('a') }}{{ 'abca'.count('a') }}",
    ),
    construct("index_method", "{{ 'abc'.index('b') }}{{ [1, 2].index(2) }}"),
    construct("title_method", "{{ 'the CAT o-k user'.title() }}"),
    construct("title_method_after_an_apostrophe_or_digit", "{{ 'they\\'re 2nd a_b a/b'.title() }}"),
    construct("title_filter_after_an_apostrophe_or_digit", "{{ 'they\\'re 2nd a_b a/b' | title }}"),
    construct("case_methods", "{{ 'the CAT'.capitalize() }}|{{ 'straße'.upper() }}|{{ 'ÀB'.lower() }}"),
    construct("swapcase", "{{ 'aB'.swapcase() }}"),
    construct(
        "replace_and_join",
        "{{ 'aaa'.replace('a', 'b') }}{{ 'aaa'.replace('a', 'b', 1) }}{{ ', '.join(['x', 'y']) }}"
        "{{ messages[0].content.replace('\\n', ' ') }}",
        "newlines",
    ),
    construct(
        "character_tests",
        "{{ '12'.isdigit() }}{{ 'a1'.isalnum() }}{{ 'ab'.isalpha() }}{{ ' '.isspace() }}{{ 'AB'.isupper() }}"
        "{{ 'ab'.islower() }}{{ ''.isdigit() }}",
    ),
    construct(
        "prefix_methods",
        "{{ 'abcd'.removeprefix('ab') }}{{ 'abcd'.removesuffix('cd') }}{{ 'abcd'.removeprefix('x') }}",
    ),
    construct(
        "format_method",
        "{{ '{} and {}'.format('a', 1) }}{{ '{0}{0}'.format('x') }}{{ '{name}'.format(name='n') }}",
    ),
    construct("padding_methods", "{{ '7'.zfill(3) }}|{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3) }}|{{ 'a'.center(3) }}"),
    construct("list_count", "{{ [1, 2, 1].count(1) }}"),
    # blocks
    construct(
        "macro",
        "{% macro turn(role, text='', end=eos_token) -%}\n<{{ role }}>{{ text | trim }}{{ end }}\n"
        "{%- endmacro %}\n{{ turn('a') }}{{ turn('b', 'c', '!') }}{{ turn(text=' d ', role='e') }}",
        "plain",
    ),
    construct(
        "macro_per_message",
        "{%- macro show(message) -%}\n{{- '[' + message.role + '] ' + message.content -}}\n{%- endmacro -%}\n"
        + LOOP
        + "{{ show(turn) + '\\n' }}{% endfor %}",
    ),
    construct(
        "macro_calls_macro",
        "{% macro inner(x) %}({{ x }}){% endmacro %}{% macro outer(x) %}{{ inner(x) ~ inner(x ~ 1) }}"
        "{% endmacro %}{{ outer('a') | upper }}{{ outer('b') | length }}",
    ),
    construct(
        "macro_sees_globals",
        "{% set later = 'L' %}{% macro show() %}{{ later }}{{ bos_token }}{{ messages | length }}{% endmacro %}{{ show() }}",
    ),
    construct(
        "recursive_macro",
        "{% macro down(n) %}{{ n }}{% if n > 0 %}{{ down(n - 1) }}{% endif %}{% endmacro %}{{ down(3) }}",
    ),
    construct(
        "macro_with_caller",
        "{% macro box(name) %}<{{ name }}>{{ caller() }}</{{ name }}>{% endmacro %}{% call box('b') %}text{% endcall %}",
    ),
    construct("set_block", "{% set text %}  {{ messages[0].role }}!\n{% endset %}[{{ text }}][{{ text | trim }}]"),
    construct("set_block_with_filter", "{% set text | upper %}{{ messages[0].role }}{% endset %}{{ text }}"),
    construct(
        "with_and_filter_blocks",
        "{% with a = 1, b = 'x' %}{{ a }}{{ b }}{% endwith %}{% filter upper %}abc{% endfilter %}{{ a is defined }}",
    ),
    construct(
        "generation",
        LOOP + "{% if turn.role == 'assistant' %}{% generation %}{{ turn.content + eos_token }}{% endgeneration %}"
        "{% else %}{{ turn.role }}: {{ turn.content }}\n{% endif %}{% endfor %}",
    ),
    construct(
        "generation_with_dashes",
        LOOP + "\n    {%- if turn.role == 'assistant' %}\n        {%- generation %}\n        "
        "{{- turn.content + eos_token }}\n        {%- endgeneration %}\n    {%- else -%}\n        "
        "{{ turn.role }}\n    {%- endif -%}\n{% endfor %}\n",
    ),
    construct(
        "generation_sets_nothing_outside",
        "{% set a = 'before' %}{% generation %}{% set a = 'inside' %}{{ a }}{% endgeneration %}{{ a }}",
    ),
    construct(
        "generation_prompt",
        "{% if add_generation_prompt %}yes{% endif %}{{ add_generation_prompt }}"
        "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}",
        "plain",
        open_ended=True,
    ),
    construct("comment_with_tags", "a{# {{ x }} {% if %} #}b{#\n many\n lines -#}\n c"),
    construct("do_nothing_output", "{% if true %}{% endif %}{{ '' }}{% for x in [] %}{% endfor %}"),
    # refusals
    construct("raise_in_an_expression", "{{ 'a' ~ raise_exception('in an expression: ' ~ messages | length) }}"),
    construct("raise_never_reached", "{{ raise_exception('never') if messages | length > 99 else 'fine' }}"),
    construct(
        "raise_in_a_macro",
        "{% macro check(turn) %}{% if turn.role == 'user' %}{{ raise_exception('found a ' ~ turn.role) }}"
        "{% endif %}{% endmacro %}" + LOOP + "{{ check(turn) }}{% endfor %}",
    ),
    construct("raise_unicode", "{{ raise_exception('« ' + messages[0].role + ' » ≠ {}') }}"),
]
