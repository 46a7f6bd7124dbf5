import reporter from './index.js';

export const { wrap, fastify, report, flush } = reporter;
export { reporter };
export default reporter;
