import journal from './meta/_journal.json';
import m0000 from './0000_tenant.sql';
import m0001 from './0001_learning_report.sql';

  export default {
    journal,
    migrations: {
      m0000,
m0001
    }
  }
  