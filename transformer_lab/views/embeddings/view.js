// The module of EmbeddingView.

import { mounted } from "../shared/mounted.js";
import { EmbeddingViewer } from "./viewer.js";

export default mounted(EmbeddingViewer, "embeddings");
