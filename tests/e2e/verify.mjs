// Reads {secret, headers, payload} from standard input; ends with 0 if npm's standardwebhooks accepts the signature.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
const { Webhook } = createRequire(process.argv[2] + "/")("standardwebhooks");
const { secret, headers, payload } = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(new Webhook(secret).verify(payload, headers)).length);
