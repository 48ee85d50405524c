"""Google Colab's widgets without Google: an output's frame with ipywidgets' own manager for pages,
which talks to a real kernel as Colab's custom manager does (googlecolab/colab-cdn-widget-manager).

As there, a widget's state is read when it is rendered, its module comes from jsDelivr by name and
version, messages arrive as an asynchronous iterable with Uint8Arrays, and sent messages count as
handled at once.
"""

import json
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.missing import COLAB

CDN = "https://cdn.jsdelivr.net/npm/"
THEIRS = "https://ssl.gstatic.com/colaboratory-static/widgets/manager.min.js"
RUNTIME = f"""
import sys, types
names = "google", "google.colab", "google.colab.output"
sys.modules.update((name, types.ModuleType(name)) for name in names)
output = sys.modules[names[-1]]
output._widgets = types.SimpleNamespace(_installed_url=None)
output.enable_custom_widget_manager = lambda: vars(output._widgets).update(_installed_url={THEIRS!r})
"""
FRAME = """<!DOCTYPE html><meta charset=utf-8><title>Colab</title><body><script>
// A loader of AMD modules, as Colab has one of its own.
const modules = new Map();
let loading = "";
globalThis.define = (name, needs, make) => {
  if (typeof name !== "string") [name, needs, make] = [loading, name, needs];
  modules.set(name, { needs, make });
};
define.amd = {};
globalThis.require = () => {}; // ipywidgets' own start in a page, which is not wanted
function required(name) {
  const module = modules.get(name);
  if (!module) throw new Error(`no module ${name}`);
  if (!module.exports) {
    const own = { exports: {}, module: { id: name, uri: location.href } };
    module.exports = module.make(...module.needs.map((need) => own[need] ?? required(need)));
  }
  return module.exports;
}
async function loader(name, version) {
  if (!modules.has(name)) {
    const address = `CDN${name}@${version}/dist/index.js`;
    const script = await (await fetch(address)).text();
    loading = name;
    new Function("define", script)(define);
  }
  return required(name);
}

// A message of Jupyter's on a web socket: JSON; or how many parts, where each begins, JSON, buffers.
function unpacked(data) {
  if (typeof data === "string") return { ...JSON.parse(data), buffers: [] };
  const head = new DataView(data);
  const at = Array.from({ length: head.getUint32(0) }, (_, i) => head.getUint32(4 * i + 4));
  const [first, ...buffers] = at.map((from, i) => new Uint8Array(data.slice(from, at[i + 1])));
  return { ...JSON.parse(new TextDecoder().decode(first)), buffers };
}

class Colab {
  states = new Map(); // by comm, as the kernel told them
  comms = new Map();
  runs = new Map();
  views = []; // the ids of what cells displayed
  constructor(address) {
    this.session = crypto.randomUUID();
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => this.#hear(unpacked(data));
    this.opened = new Promise((resolve) => (this.socket.onopen = resolve));
  }
  send(msg_type, content) {
    const id = crypto.randomUUID();
    const header = { msg_id: id, msg_type, session: this.session, username: "", version: "5.3" };
    const message = { header, parent_header: {}, metadata: {}, content, channel: "shell" };
    this.socket.send(JSON.stringify({ ...message, buffers: [] }));
    return id;
  }
  async run(code) {
    await this.opened;
    const run = Promise.withResolvers();
    this.runs.set(this.send("execute_request", { code, silent: false, allow_stdin: false }), run);
    return run.promise;
  }
  #hear({ header, parent_header, content, buffers }) {
    const { comm_id, data } = content;
    const { put_buffers } = required("@jupyter-widgets/base");
    const stated = () => (put_buffers(data.state, data.buffer_paths ?? [], buffers), data.state);
    if (header.msg_type === "comm_open") {
      this.states.set(comm_id, stated());
      this.comms.set(comm_id, new Comm(this, comm_id));
    } else if (header.msg_type === "comm_msg") {
      this.comms.get(comm_id)?.hear({ data, buffers });
      if (data.method === "update") Object.assign(this.states.get(comm_id), stated());
    } else if (header.msg_type === "display_data" || header.msg_type === "execute_result") {
      this.views.push({ ...content.data["application/vnd.jupyter.widget-view+json"], ...content });
    } else if (header.msg_type === "error") {
      this.runs.get(parent_header.msg_id)?.reject(new Error(`${content.ename}: ${content.evalue}`));
    } else if (content.execution_state === "idle") {
      this.runs.get(parent_header.msg_id)?.resolve();
    }
  }
}

// `google.colab.kernel.comms`.
class Comm {
  #heard = [];
  #more = Promise.withResolvers();
  constructor(colab, id) {
    Object.assign(this, { colab, id });
  }
  hear(message) {
    this.#heard.push(message);
    this.#more.resolve();
    this.#more = Promise.withResolvers();
  }
  async send(data) {
    this.colab.send("comm_msg", { comm_id: this.id, data });
  }
  async *#told() {
    for (let at = 0; ; yield this.#heard[at++])
      while (at >= this.#heard.length) await this.#more.promise;
  }
  get messages() { return this.#told(); }
}

// What ipywidgets asks of a comm.
class ClassicComm {
  target_name = "";
  constructor(comm) {
    Object.assign(this, { comm, comm_id: comm.id });
  }
  send(data, callbacks, _metadata, buffers) {
    if (buffers?.length) throw new Error("no view sends bytes");
    const idle = { content: { execution_state: "idle" } };
    this.comm.send(data).then(() => callbacks?.iopub?.status?.(idle));
    return "";
  }
  async on_msg(callback) {
    for await (const { data, buffers } of this.comm.messages)
      callback({ content: { comm_id: this.comm_id, data }, buffers });
  }
  on_close() {}
  close() {}
}

async function render(colab, id, place) {
  const { HTMLManager } = required("@jupyter-widgets/html-manager");
  class Manager extends HTMLManager {
    asked = new Map();
    get_model(model_id) {
      if (!this.asked.has(model_id)) this.asked.set(model_id, this.#made(model_id));
      return this.asked.get(model_id);
    }
    #made(model_id) {
      const { _model_name: model_name, _model_module: model_module, ...state } = colab.states.get(model_id);
      const { _model_module_version: model_module_version } = state;
      const comm = new ClassicComm(colab.comms.get(model_id));
      return this.new_model({ model_name, model_module, model_module_version, model_id, comm }, state);
    }
  }
  const manager = new Manager({ loader });
  const view = await manager.create_view(await manager.get_model(id));
  await manager.display_view(view, place);
}
</script><div id=output></div>""".replace("CDN", CDN)


@contextmanager
def kernel(lab):
    """Start a kernel of a Jupyter server; yields its web socket's address."""
    url, token, _ = lab

    def asked(path, method):
        headers = {"Authorization": f"token {token}"}
        request = urllib.request.Request(f"{url}/api/{path}", b"{}", headers, method=method)
        return urllib.request.urlopen(request).read()

    number = json.loads(asked("kernels", "POST"))["id"]
    try:
        yield f"{url.replace('http', 'ws')}/api/kernels/{number}/channels?token={token}"
    finally:
        asked(f"kernels/{number}", "DELETE")


def frame(page, lab):
    """Show an empty output in place of a page of the server: no other page may use the kernel."""
    module = Path(find_spec("anywidget").origin).with_name("nbextension") / "index.js"
    allowed = {"access-control-allow-origin": "*"}
    page.route(
        f"{CDN}anywidget@*/dist/index.js", lambda route: route.fulfill(path=module, headers=allowed)
    )
    page.goto(f"{lab[0]}/login")
    page.set_content(FRAME)
    page.add_script_tag(path=COLAB)
